"""What bootstrap.py decides, with false interpreters and tools: no network, nothing installed."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap

HERE = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a program of these shell lines, on a PATH that has only such and the system's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, *lines: str) -> str:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return str(path)

    # The machine's own uv, GPU and Pythons are out of the game.
    for name in ("uv", "nvidia-smi", "python3.11", "python3.12", "python3.13"):
        make(name, "exit 127")
    (folder / "uv").unlink()
    return make


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copy of what bootstrap.py reads, in an empty folder, with .venv to be made there."""
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "requirements.txt").write_text("numpy==1.0\ntorch==2.13.0\n")
    (folder / "pyproject.toml").write_text("")
    for name in ("REQUIREMENTS", "VENV", "VENV_PYTHON", "STAMP", "LOG"):
        relative = os.path.relpath(getattr(bootstrap, name), bootstrap.ROOT)
        monkeypatch.setattr(bootstrap, name, str(folder / relative))
    monkeypatch.setattr(bootstrap, "ROOT", str(folder))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.delenv("VAE_EDU_PYTHON", raising=False)
    return folder


def python_that(*lines: str) -> list[str]:
    """Shell lines of a false Python of this version; it writes down what it is asked to install."""
    return [
        f'case "$*" in *version_info*) echo {HERE.replace(".", " ")}; exit;; esac',
        f'case "$*" in "-m pip"*) echo "pip $*" >> {bootstrap.ROOT}/asked;; esac',
        *lines,
    ]


@pytest.fixture
def venv(root, program):
    """Makes a .venv around a false Python."""

    def make(*lines: str, stamp: str | None = None) -> Path:
        program(bootstrap.VENV_PYTHON, *python_that(*lines))
        if stamp is not None:
            bootstrap.write_stamp(stamp)
        return root / ".venv"

    return make


def asked(root: Path) -> list[str]:
    """What was installed, a line each."""
    return (root / "asked").read_text().splitlines() if (root / "asked").exists() else []


# Which Python


def tell(version, *, path="/nonexistent", **environment):
    """Run bootstrap.py as this version of Python would, with nothing else on PATH."""
    code = (
        f"import runpy, sys; sys.version_info = {version}; sys.argv = ['bootstrap.py'];"
        f"runpy.run_path({bootstrap.__file__!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", [(3, 8, 1, "final", 0), (3, 14, 0, "final", 0)])
def test_wrong_python_is_told_in_one_line(version):
    said = tell(version)
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    assert "3.11, 3.12 or 3.13 is needed" in said.stderr
    assert "this is {}.{}".format(*version[:2]) in said.stderr


def test_named_python_is_told_if_it_does_not_run():
    said = tell(tuple(sys.version_info), VAE_EDU_PYTHON="no-such-python")
    assert said.returncode == 1
    assert "no-such-python does not run" in said.stderr


def test_wrong_python_hands_over_to_one_that_runs(program):
    program("python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    other = program(
        "python3.12", 'case "$*" in *version_info*) echo 3 12;; *) echo "took over: $*";; esac'
    )
    said = tell((3, 9, 1, "final", 0), path=f"{Path(other).parent}:/usr/bin:/bin")
    assert said.stdout == f"took over: {bootstrap.__file__}\n"


def test_this_python_is_kept(root):
    assert bootstrap.suitable_python() == sys.executable


def test_named_python_goes_first(root, program, monkeypatch):
    other = program("my-python", "echo 3 12")
    monkeypatch.setenv("PYTHON", other)
    assert bootstrap.suitable_python() == other


def test_syntax_is_old_enough_to_be_parsed_by_an_old_python():
    tree = ast.parse(Path(bootstrap.__file__).read_text())
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match))
        if isinstance(node, ast.arguments):
            assert not node.kwonlyargs + node.posonlyargs
            assert all(argument.annotation is None for argument in node.args)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None


# GPU and torch


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["echo 'GPU 0: NVIDIA H100'"], True),
        (["echo 'NVIDIA-SMI has failed'; exit 9"], False),
        (["echo 'No devices were found'"], False),
    ],
)
def test_gpu(program, lines, expected):
    program("nvidia-smi", *lines)
    assert bootstrap.has_gpu() is expected


def test_no_nvidia_smi(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert bootstrap.has_gpu() is False


@pytest.fixture
def on_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")


CPU = f"pip -m pip install --no-compile --index-url {bootstrap.CPU_INDEX} --no-deps torch==2.13.0"
ORDINARY = "pip -m pip install --no-compile --no-deps torch==2.13.0"


def test_torch_comes_from_the_cpu_index(root, venv, on_linux):
    venv('test "$PIP_RETRIES" = 0')
    assert bootstrap.install_torch()
    assert asked(root) == [CPU]


def test_torch_comes_from_the_ordinary_index_if_that_is_out_of_reach(root, venv, on_linux):
    venv('case "$*" in *index-url*) exit 1;; esac')
    assert bootstrap.install_torch()
    assert asked(root) == [CPU, ORDINARY]


def test_torch_for_a_gpu_is_the_ordinary_one(root, venv, program, on_linux):
    venv()
    program("nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    assert bootstrap.install_torch()
    assert asked(root) == [ORDINARY]


def test_torch_for_a_mac_is_the_ordinary_one(root, venv, monkeypatch):
    venv()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert bootstrap.install_torch()
    assert asked(root) == [ORDINARY]


@pytest.mark.parametrize("installed", ["2.13.0", "2.12.1"])
def test_torch_that_is_there_is_kept(root, venv, on_linux, installed):
    venv(f'case "$*" in *importlib*) echo {installed};; esac')
    assert bootstrap.install_torch()
    assert bool(asked(root)) is (installed != "2.13.0")


# uv, then pip


def test_uv_is_used_where_there_is_one(root, venv, program):
    venv()
    program("uv", f'echo "uv $*" >> {root}/asked')
    assert bootstrap.install("six")
    assert asked(root) == [f"uv pip install --python {bootstrap.VENV_PYTHON} six"]


def test_pip_takes_over_where_uv_fails(root, venv, program, capsys):
    venv()
    program("uv", "exit 2")
    assert bootstrap.install("six")
    assert asked(root) == ["pip -m pip install --no-compile six"]
    assert "uv could not, now pip" in capsys.readouterr().out


# .venv


def base_python(program, *lines: str) -> str:
    """A false Python whose `-m venv` lays a false .venv."""
    return program(
        "base-python",
        *python_that(*lines),
        'case "$*" in "-m venv"*) mkdir $3/bin; cp $0 $3/bin/python;; esac',
    )


def test_sets_up_once(root, program, on_linux, capsys):
    base = base_python(program)
    bootstrap.set_up(base)
    assert [line.split()[-1] for line in asked(root)] == [
        "torch==2.13.0",
        str(root / "requirements.txt"),
        str(root),
    ]
    assert "Installing PyTorch" in capsys.readouterr().out

    bootstrap.set_up(base)
    assert len(asked(root)) == 3
    assert capsys.readouterr().out == ""


def test_completes_it_when_the_requirements_change(root, program):
    base = base_python(program)
    bootstrap.set_up(base)
    (root / ".venv" / "mine").touch()
    (root / "requirements.txt").write_text("numpy==2.0\ntorch==2.13.0\n")
    bootstrap.set_up(base)
    assert len(asked(root)) == 6
    assert (root / ".venv" / "mine").exists()


def test_makes_an_unfinished_one_anew(root, program, venv):
    venv(stamp=bootstrap.UNFINISHED)
    (root / ".venv" / "half").touch()
    bootstrap.set_up(base_python(program))
    assert not (root / ".venv" / "half").exists()
    assert bootstrap.state_of_venv(sys.executable) == "ready"


def test_failure_leaves_it_unfinished(root, program):
    base = base_python(program, 'case "$*" in *requirements*) exit 1;; esac')
    with pytest.raises(bootstrap.SetupError):
        bootstrap.set_up(base)
    assert bootstrap.state_of_venv(base) == "unfinished"


def test_makes_it_anew_when_its_python_is_gone(venv):
    venv("exit 1", stamp="finished long ago")
    Path(bootstrap.VENV_PYTHON).unlink()
    assert bootstrap.state_of_venv(sys.executable) == "unfinished"


def test_somebody_elses_is_kept_and_told(root):
    (root / ".venv").mkdir()
    with pytest.raises(bootstrap.SetupError, match=r"another Python \(none that runs"):
        bootstrap.state_of_venv(sys.executable)
    assert (root / ".venv").exists()


def test_another_named_python_is_told(venv, program, monkeypatch):
    venv(stamp="x")
    minor = 11 if HERE != "3.11" else 12
    monkeypatch.setenv("PYTHON", program("other", f"echo 3 {minor}"))
    with pytest.raises(bootstrap.SetupError, match=f"another Python .*{HERE}.* 3.{minor}"):
        bootstrap.state_of_venv(bootstrap.named_python())


def test_missing_venv_module_is_told(root, program):
    base = program(
        "base-python",
        *python_that("echo 'ensurepip is not available. On Debian/Ubuntu systems …'; exit 1"),
    )
    with pytest.raises(bootstrap.SetupError, match=f"apt install python{HERE}-venv"):
        bootstrap.set_up(base)
    assert not (root / ".venv").exists()


def test_uv_makes_it_where_there_is_one(root, program):
    program("uv", f'test "$1" = venv && mkdir -p {bootstrap.VENV}/bin && touch {bootstrap.VENV}/uv')
    bootstrap.make_venv("no-such-python")
    assert (root / ".venv" / "uv").exists()


def test_too_little_room_is_told_before_anything_is_made(root, program, monkeypatch):
    usage = shutil._ntuple_diskusage(total=9e9, used=7.5e9, free=1.5e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(bootstrap.SetupError, match=r"2 GB of disk are needed, and 1\.5 GB are"):
        bootstrap.set_up(base_python(program))
    assert not (root / ".venv").exists()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("urllib3.exceptions.NewConnectionError: Connection refused", "no package index"),
        ("ERROR: No matching distribution found for torch==2.13.0\n", "No matching distribution"),
        ("", "unknown"),
    ],
)
def test_failures_are_explained_in_one_line(log, said):
    reason = bootstrap.why_it_failed(log)
    assert said in reason
    assert "\n" not in reason


def test_main_reports_in_one_line(root, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "check_room", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert bootstrap.main() == 130
    (root / ".venv").mkdir()
    assert bootstrap.main() == 1
    assert capsys.readouterr().err.count("\n") == 2
