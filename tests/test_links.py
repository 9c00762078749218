"""Every relative link in the pages and notebooks leads somewhere, every named section exists."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("notebooks/**/*.md"),
    *ROOT.glob("benchmarks/*.md"),
    *ROOT.glob("binder/*.md"),
]
NOTEBOOKS = [
    path for path in ROOT.glob("notebooks/**/*.ipynb") if ".ipynb_checkpoints" not in path.parts
]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def text_of(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path):
    links = [link for link in LINK.findall(text_of(path)) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing


def sections() -> list[tuple[str, str]]:
    """(notebook, section) for each row of the table of questions."""
    table = text_of(ROOT / "notebooks" / "README.md").split("## From a question")[1]
    rows = [line for line in table.splitlines() if line.startswith("|") and ".ipynb" in line]
    found = []
    for row in rows:
        *_, notebooks, names, _ = re.split(r"(?<!\\)\|", row)
        files, names = LINK.findall(notebooks), names.strip().replace("\\|", "|").split("; ")
        # One section a notebook, or several of a single one.
        files = files if len(files) > 1 else files * len(names)
        found += zip(files, names, strict=True)
    return found


@pytest.mark.parametrize(("notebook", "section"), sections())
def test_the_section_a_question_leads_to_exists(notebook, section):
    text = text_of(ROOT / "notebooks" / notebook)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"^\d+\. |[*`]", "", h) for h in headings]
    wanted = re.sub(r"[*`]", "", section)
    assert any(heading.startswith(wanted) for heading in plain), plain
