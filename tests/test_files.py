"""Files are written whole or not at all."""

import stat

import pytest

from vae_edu.files import replace_whole


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "file"
    with replace_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path  # a rename across disks would be a copy
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(type(error)), replace_whole(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_the_file(tmp_path):
    path = tmp_path / "file"
    with replace_whole(path) as temporary:
        temporary.write_text("new")
    assert path.stat().st_mode & stat.S_IRGRP
