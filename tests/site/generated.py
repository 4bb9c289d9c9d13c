"""Parts of pages that are written from the code and the folders when the site is built: never stale."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from tests.site import reference

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def filled(text: str, page: str) -> str:
    """A page's text, its marks replaced.

    Args:
        text: Markdown.
        page: path of the page, relative to `docs/`: links are relative to it.

    Raises: KeyError for a mark that names no part.
    """
    return MARK.sub(lambda mark: PARTS[mark[1]](page), text)


def _titles(folder: str) -> Callable[[str], str]:
    def write(page: str) -> str:
        here = (DOCS / page).parent
        pages = sorted((DOCS / folder).glob("*.md"))
        return "\n".join(f"- [{_title(path)}]({Path(os.path.relpath(path, here)).as_posix()})" for path in pages)

    return write


def _contributing(page: str) -> str:
    """CONTRIBUTING.md without its title, with links to pages made relative to this page."""
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n")[2].strip()
    up = "../" * page.count("/")
    return re.sub(r"\]\(docs/", f"]({up}", text)


def _title(page: Path) -> str:
    first = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    number = page.name[:4]
    return first if first.startswith(number) or not number.isdigit() else f"{number}. {first}"


PARTS: dict[str, Callable[[str], str]] = {
    "commands": lambda page: reference.commands(),
    "config": lambda page: reference.config(),
    "contributing": _contributing,
    "decisions": _titles("adr"),
    "trials": _titles("development/experiments"),
}
