"""What Binder and JupyterHub build from binder/."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"


def pins(text: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if "==" in line]


def test_its_packages_are_the_course_s():
    run = (ROOT / "requirements.txt").read_text().split("# test")[0]
    assert pins((BINDER / "requirements.txt").read_text()) == pins(run)


def test_its_python_is_supported():
    version = re.fullmatch(r"python-3\.(\d+)\n", (BINDER / "runtime.txt").read_text())
    assert (3, int(version[1])) in bootstrap.SUPPORTED


@pytest.fixture(scope="module")
def dockerfile():
    """What repo2docker would have Docker build; it needs no Docker to say it."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_first_then_the_repository_then_the_course(dockerfile):
    steps = [
        r"^FROM ",
        r"environment-2epy-2d3-2e12",
        r"^COPY .*src/binder/requirements\.txt ",
        r'^RUN \S*/pip install --no-cache-dir -r "binder/requirements\.txt"',
        r"^COPY .*src/ \$\{REPO_DIR\}",
        r"^RUN \./binder/postBuild",
        r'^ENV R2D_ENTRYPOINT="\$\{REPO_DIR\}/binder/start"',
    ]
    places = [re.search(step, dockerfile, re.MULTILINE) for step in steps]
    assert all(places), [step for step, place in zip(steps, places, strict=True) if not place]
    assert [place.start() for place in places] == sorted(place.start() for place in places)


def test_start_sets_one_thread_and_hands_the_command_on():
    command = [BINDER / "start", "sh", "-c", 'echo "$OMP_NUM_THREADS $1"; exit 3', "-", "a b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1 a b\n", 3)


def test_a_failed_installation_fails_the_build(tmp_path):
    (tmp_path / "pip").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "pip").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run([BINDER / "postBuild"], env=environment).returncode == 7


def test_the_links_open_the_lab_on_notebook_00():
    text = "".join((ROOT / page).read_text() for page in ("README.md", "binder/README.md"))
    links = re.findall(r"https://mybinder\.org/v2/\S+?(?=[)>])", text)
    assert len(links) == 2 == links.count(links[0])
    assert (ROOT / links[0].split("urlpath=lab/tree/")[1]).exists()
