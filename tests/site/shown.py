"""The commands and the Python blocks that the documentation shows."""

import re
import shlex

from tests.site.generated import DOCS, REPO

FOLDERS = ("tutorials", "guides", "concepts", "reference", "results")
PAGES = [REPO / "README.md", REPO / "README.ko.md", *(DOCS / f"{name}.md" for name in ("index", "troubleshooting"))]
PAGES += sorted(path for folder in FOLDERS for path in (DOCS / folder).glob("*.md"))
"""Pages for users; those for developers show commands of the time when they were written."""

_INDENTED = re.compile(r"^(?: {4}|\t)(.*)$", re.MULTILINE)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The `ebm …` commands of a page in their order, without prompt and comment, as they are typed."""
    blocks = [(match.start(), match[2]) for match in _FENCED.finditer(text) if match[1] in ("bash", "sh", "console")]
    outside = _FENCED.sub(lambda match: re.sub(r"[^\n]", "~", match[0]), text)
    blocks += [(match.start(), match[1]) for match in _INDENTED.finditer(outside)]
    lines = [line.strip().removeprefix("$ ") for _, block in sorted(blocks) for line in block.splitlines()]
    return [_without_comment(line) for line in lines if line.startswith("ebm ")]


def make_commands(text: str) -> list[str]:
    """The `make …` commands of a page."""
    return [_without_comment(line) for line in _INDENTED.findall(text) if line.startswith("make ")]


def python_blocks(text: str) -> list[str]:
    """The Python blocks of a page."""
    return [code for language, code in _FENCED.findall(text) if language == "python"]


def words(command: str) -> list[str]:
    """The words behind `ebm`, as a shell splits them."""
    return shlex.split(command)[1:]


def is_expanded(command: str) -> bool:
    """True if a shell would expand a part of the command: zsh, that of a Mac, refuses brackets that match no file."""
    return re.search(r"[\[\]{}*?$]", re.sub(r"'[^']*'|\"[^\"]*\"", "", command)) is not None


def shown() -> dict[str, list[str]]:
    """Every command of the pages → the pages that show it."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for command in commands(page.read_text(encoding="utf-8")):
            found.setdefault(command, []).append(page.relative_to(REPO).as_posix())
    return found


def _without_comment(line: str) -> str:
    return re.sub(r"\s+#\s.*$", "", line).strip()
