"""Word check, run by `make check`: plain, standard English in docstrings, comments, messages and documentation.

    python -m tests.words [PATH ...]

Two rules that a machine can see (docs/development/architecture.md has the others): none of the phrases of `PHRASES`, as
whole words, and no docstring that begins with one of `FIRST_WORDS`. Identifiers, code in backquotes and the literals
of tests are exempt.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[1]
PHRASES = {
    r"(goes|go|went|gone|going) on": "resume, continue",
    r"typed again": "rerun",
    r"(left|leaves?|leaving) the finite numbers": "diverged, non-finite",
    r"takes? its leave": "ends",
    r"(run|runs|training) (that )?(is|are|was|were) lost": "diverged",
    r"by heart": "memorise",
    r"(some|any|no)body('s)?": "a user, a person; untrusted input",
    r"(?<!power )(?<!power-)laws?(?! of )": "distribution",
    r"to be had": "available",
    r"in a word": "in short",
    r"held against": "compared with",
    r"left alone": "skipped, unchanged",
    r"what (it|they) (came|comes?) to": "the result, the resolved value",
}
"""Regular expression of a phrase → what to write in its place."""
FIRST_WORDS = ("What", "How", "Where", "Whether", "Those", "That", "Of", "Which")
"""Words that begin a riddle: the first line of a docstring is a noun phrase or an imperative."""
TEXTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "docs/**/*.md", "conf/**/*.yaml", ".ci/run")
SOURCES = ("ebm_cli/**/*.py", "tests/**/*.py")

_PHRASE = re.compile(r"\b(?:" + "|".join(f"(?:{phrase})" for phrase in PHRASES) + r")\b", re.IGNORECASE)
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


class Found(NamedTuple):
    """A fault of wording: its file, line, and what is wrong."""

    path: Path
    line: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(REPO)}:{self.line}: {self.fault}"


def main(words: Sequence[str]) -> int:
    """Print every fault in these files (or folders; all by default); the exit code."""
    under = [Path(word).resolve() for word in words]
    found = [
        fault for path in _files() if not under or any(path.is_relative_to(u) for u in under) for fault in check(path)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


def check(path: Path) -> Iterator[Found]:
    """Check one file: a Python source by its docstrings, comments and messages, any other as a text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from _phrases(path, 1, text)
        return
    tree = ast.parse(text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from _phrases(path, token.start[0], token.string)
    package = path.is_relative_to(REPO / "ebm_cli")
    for node in ast.walk(tree):
        for constant, is_docstring in _strings(node):
            if is_docstring or package:
                yield from _phrases(path, constant.lineno, constant.value)
            if is_docstring:
                first = re.match(r"\s*(\w+)", constant.value)
                if first and first[1] in FIRST_WORDS:
                    yield Found(path, constant.lineno, f"docstring begins with {first[1]!r}")


def _strings(node: ast.AST) -> Iterator[tuple[ast.Constant, bool]]:
    """String constants directly in a node, and whether each is a docstring (of a constant, too)."""
    for child in ast.iter_child_nodes(node):
        bare = isinstance(child, ast.Expr)
        value = child.value if isinstance(child, ast.Expr) else child
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value, bare


def _phrases(path: Path, line: int, text: str) -> Iterator[Found]:
    """Phrases in a text, outside code in backquotes; a line break counts as a space."""
    plain = _CODE.sub(lambda code: re.sub(r"[^\n]", "_", code[0]), text)
    for match in _PHRASE.finditer(plain.replace("\n", " ")):
        better = next(better for phrase, better in PHRASES.items() if re.search(phrase, match[0], re.IGNORECASE))
        yield Found(path, line + text.count("\n", 0, match.start()), f"{match[0]!r}; write: {better}")


def _files() -> list[Path]:
    own = Path(__file__).resolve()
    return sorted({path for pattern in (*TEXTS, *SOURCES) for path in REPO.glob(pattern) if path != own})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
