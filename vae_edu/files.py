"""Writing a file whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed to it when the block ends, removed if it fails.

    So an interruption or a full disk never leaves half a file, nor destroys the old one.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp's files are for the owner only
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
