"""Troubleshooting is keyed by messages: each of its headings is text of the program."""

import ast
import re

import pytest

from tests.site.generated import DOCS, REPO

TEXT = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def printed() -> str:
    """Every text of the package, with `{}` for the values in it."""
    texts = []
    for path in sorted((REPO / "ebm_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_every_message_has_an_answer() -> None:
    assert len(MESSAGES) == TEXT.count("\n### ")
    assert len(set(MESSAGES)) == len(MESSAGES) > 30


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_printed_by_the_program(message: str, printed: str) -> None:
    assert message in printed


def test_message_of_another_program_is_not_found(printed: str) -> None:
    assert "segmentation fault" not in printed
