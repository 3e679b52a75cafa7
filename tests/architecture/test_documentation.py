"""Pages that must keep up with the sources: compatibility, dependencies, links between pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
CASES = tomllib.loads((ROOT / "tests/conformance/chasquid/cases.toml").read_text())
DIFFERENCES = [
    name
    for name, case in CASES["cases"].items()
    if case["kind"] != "C" and case["milestone"] in CASES["finished"]
]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_to_chasquid_is_documented(name: str) -> None:
    page = (DOCS / "compatibility.md").read_text()
    assert re.search(rf"^\| {name} \|", page, re.MULTILINE), f"{name} has no row in the page"


def test_every_dependency_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    requirements = project["project"]["dependencies"] + [one for extra in extras for one in extra]
    requirements += project["build-system"]["requires"]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in requirements}
    page = (DOCS / "dependencies.md").read_text()
    assert {name for name in names if f"pypi.org/project/{name}/" not in page} == set()


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub and others make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text())
    dead = []
    for target, anchor in links:
        where = page.parent / target if target else page
        if not where.exists() or (anchor and anchor not in anchors(where)):
            dead.append(f"{target}#{anchor}")
    assert dead == []
