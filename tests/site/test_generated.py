"""Parts of pages that are generated when the site is built."""

import re

import pytest

from tests.site.generated import DOCS, MARK, filled

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if MARK.search(page.read_text(encoding="utf-8"))]


def test_some_pages_have_generated_parts() -> None:
    assert {page.name for page in PAGES} >= {"decisions.md", "trials.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_part_has_text_and_links_that_lead_to_files(page) -> None:
    before = page.read_text(encoding="utf-8")
    after = filled(before, page.relative_to(DOCS).as_posix())
    assert len(after) > len(before) + 100
    assert not MARK.search(after)
    links = re.findall(r"\]\(([^)#\s:]+)\)", after)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_decision_record_is_listed() -> None:
    listed = filled("<!-- generated: decisions -->", "development/decisions.md")
    assert listed.count("\n") + 1 == len(list((DOCS / "adr").glob("*.md")))


def test_mark_without_a_part_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        filled("<!-- generated: nothing -->", "index.md")
