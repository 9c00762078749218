"""Make .venv and install the course into it: `python3 bootstrap.py`, or any target of `make`.

Only the standard library, since nothing is installed yet; and only old syntax (no f-strings, no
annotations), so that an old Python can parse this file and say in one line that it is too old.
"""

from __future__ import print_function

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
REQUIREMENTS = os.path.join(ROOT, "requirements.txt")
# Says what .venv was made from. It is UNFINISHED until the last step is done, and missing from a
# .venv that somebody else made.
STAMP = os.path.join(VENV, "vae_edu.stamp")
UNFINISHED = "unfinished"
LOG = os.path.join(VENV, "setup.log")

SUPPORTED = ((3, 13), (3, 12), (3, 11))
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class SetupError(Exception):
    """What stands in the way and what to do about it, in one line."""


# Which Python


def version_of(python):
    """(3, 11) if `python` runs and is 3.11; None if not: a pyenv shim can exist and yet refuse."""
    code = "import sys; print('%d %d' % sys.version_info[:2])"
    try:
        with open(os.devnull, "w") as null:
            printed = subprocess.check_output([python, "-c", code], stderr=null)
        return tuple(int(number) for number in printed.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def named_python():
    return os.environ.get("VAE_EDU_PYTHON") or os.environ.get("PYTHON")


def suitable_python():
    """The Python to build on: the one named, else this one, else a newer or older one on PATH."""
    named = named_python()
    if named:
        found = version_of(named)
        if found in SUPPORTED:
            return named
    else:
        found = tuple(sys.version_info[:2])
        if found in SUPPORTED:
            return sys.executable
        for version in SUPPORTED:
            python = "python{}.{}".format(*version)
            if version_of(python) == version:
                return python
    raise SetupError(
        "Python 3.11, 3.12 or 3.13 is needed, and {} {}. Install one of them, or name it: "
        "PYTHON=/path/to/python3.12 make lab".format(
            named or "this", "is " + dotted(found) if found else "does not run"
        )
    )


def dotted(version):
    return ".".join(str(number) for number in version) if version else "none that runs"


# Steps


@contextlib.contextmanager
def step(text):
    """Say what is being done, then how long it took."""
    print(text, end=" ... ")
    sys.stdout.flush()
    begun = time.time()
    try:
        yield
    except BaseException:
        print("stopped")
        raise
    print("{:.0f} s".format(time.time() - begun))


def run(*command, **environment):
    """Run it with its words going to the log; True if it succeeded."""
    # A `user = true` in pip's configuration would make it refuse to install into .venv.
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", **environment)
    with open(LOG, "a") as log:
        log.write("$ {}\n".format(" ".join(command)))
        log.flush()
        return not subprocess.call(command, cwd=ROOT, stdout=log, stderr=log, env=environment)


def logged():
    with open(LOG) as log:
        return log.read()


def install(*arguments, **environment):
    """Install with uv where it is on PATH, else (or if it fails) with pip; True if one did."""
    uv = shutil.which("uv")
    if uv:
        if run(uv, "pip", "install", "--python", VENV_PYTHON, *arguments, **environment):
            return True
        # uv does not read pip's configuration, where a mirror or a folder of wheels may be named.
        print("uv could not, now pip", end=" ... ")
        sys.stdout.flush()
    # Most of what is installed is never imported; the rest is compiled at its first import.
    return run(VENV_PYTHON, "-m", "pip", "install", "--no-compile", *arguments, **environment)


def why_it_failed(log):
    """The cause of a failed installation, from what was logged, and what to do."""
    if "No space left on device" in log:
        return "the disk is full: make room, then run the same command again"
    network = (
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "error sending request",
    )
    if any(sign in log for sign in network):
        return (
            "no package index could be reached: check the network and the proxy (HTTPS_PROXY), "
            "then run the same command again"
        )
    errors = [line.strip() for line in log.splitlines() if "error" in line.lower()]
    return "{} (the whole log is in .venv/setup.log)".format(errors[-1] if errors else "unknown")


def has_gpu():
    """Whether nvidia-smi is there, works, and lists a GPU."""
    try:
        printed = subprocess.check_output(
            ["nvidia-smi", "-L"], stderr=subprocess.STDOUT, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return b"GPU" in printed


def torch_pin():
    with open(REQUIREMENTS) as lines:
        return next(line.strip() for line in lines if line.startswith("torch=="))


def has_torch():
    """Whether .venv has the pinned torch, whatever its build (2.13.0, 2.13.0+cpu)."""
    code = "from importlib.metadata import version as v; print(v('torch').split('+')[0])"
    with open(os.devnull, "w") as null:
        asked = subprocess.Popen([VENV_PYTHON, "-c", code], stdout=subprocess.PIPE, stderr=null)
    return "torch==" + asked.communicate()[0].decode().strip() == torch_pin()


def install_torch():
    """On Linux the ordinary wheel brings gigabytes of CUDA; without a GPU the CPU's will do.

    Its dependencies come with the rest, from the ordinary index.
    """
    if has_torch():
        return True
    wheel = ("--no-deps", torch_pin())
    if sys.platform.startswith("linux") and not has_gpu():
        # Where this index is barred, it should be given up soon: no retries.
        patience = {
            "PIP_RETRIES": "0",
            "PIP_DEFAULT_TIMEOUT": "15",
            "UV_HTTP_RETRIES": "0",
            "UV_HTTP_TIMEOUT": "15",
        }
        if install("--index-url", CPU_INDEX, *wheel, **patience):
            return True
        print("not from the CPU index, now the ordinary one", end=" ... ")
        sys.stdout.flush()
    return install(*wheel)


# .venv


def fingerprint(version):
    """What a finished .venv depends on. ROOT: an editable installation breaks if it is moved."""
    digest = hashlib.sha256(repr((version, ROOT)).encode())
    for path in (REQUIREMENTS, os.path.join(ROOT, "pyproject.toml")):
        with open(path, "rb") as content:
            digest.update(content.read())
    return digest.hexdigest()


def read_stamp():
    try:
        with open(STAMP) as stamp:
            return stamp.read()
    except (IOError, OSError):
        return None


def write_stamp(text):
    with open(STAMP, "w") as stamp:
        stamp.write(text)


def state_of_venv(base):
    """'missing', 'unfinished' (ours, to be made anew), 'outdated' (to be completed) or 'ready'."""
    if not os.path.lexists(VENV):
        return "missing"
    stamp, version = read_stamp(), version_of(VENV_PYTHON)
    if stamp == UNFINISHED or (stamp and not version):  # or the Python under it is gone
        return "unfinished"
    if version not in SUPPORTED or (named_python() and version_of(base) != version):
        raise SetupError(
            ".venv was made by another Python ({}, and now it is to be {}): remove it with "
            "`make clean`, then run the same command again".format(
                dotted(version), dotted(version_of(base))
            )
        )
    return "ready" if stamp == fingerprint(version) else "outdated"


def check_room():
    needed = 8 if has_gpu() else 2  # CUDA alone is several
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        raise SetupError(
            "{} GB of disk are needed, and {:.1f} GB are free in {}".format(needed, free, ROOT)
        )


def make_venv(base):
    os.makedirs(VENV)
    write_stamp(UNFINISHED)
    uv = shutil.which("uv")
    # --seed adds pip, which is needed where uv fails.
    if uv and run(uv, "venv", "--seed", "--allow-existing", "--python", base, VENV):
        return
    if run(base, "-m", "venv", VENV):
        return
    log = logged()
    shutil.rmtree(VENV)
    if "ensurepip" in log or "No module named venv" in log:
        raise SetupError(
            "this Python has no venv: `apt install python{}-venv` on Debian and Ubuntu (or install "
            "uv), then run the same command again".format(dotted(version_of(base)))
        )
    raise SetupError("python -m venv failed: " + " ".join(log.split())[-300:])


def set_up(base):
    state = state_of_venv(base)
    if state == "ready":
        return
    begun = time.time()
    if state == "unfinished":
        print("The last set-up was not finished: making .venv anew.")
        shutil.rmtree(VENV)
    if state != "outdated":
        check_room()
        with step("Making .venv on Python " + dotted(version_of(base))):
            make_venv(base)
    write_stamp(UNFINISHED)
    for text, installed in (
        ("Installing PyTorch, about 200 MB", install_torch),
        ("Installing Jupyter and the rest", lambda: install("-r", REQUIREMENTS)),
        ("Installing vae_edu", lambda: install("--no-deps", "-e", ROOT)),
    ):
        with step(text):
            before = len(logged()) if os.path.exists(LOG) else 0
            if not installed():
                raise SetupError(why_it_failed(logged()[before:]))
    write_stamp(fingerprint(version_of(VENV_PYTHON)))
    print("Set up in {:.0f} s; the next time it is there.".format(time.time() - begun))


def main():
    try:
        if os.name == "nt":
            raise SetupError("on Windows use the two lines of pip in README.md")
        python = suitable_python()
        if tuple(sys.version_info[:2]) not in SUPPORTED:
            # From here on a new Python's library is needed.
            os.execvp(python, [python, os.path.abspath(__file__)])
        set_up(python)
    except SetupError as error:
        print("set-up: {}".format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; run the same command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
