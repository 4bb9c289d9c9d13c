"""Notebooks as pages of the site."""

import json

import pytest

from tests.site.generated import DOCS
from tests.site.notebook import page


def notebook(*outputs: dict) -> str:
    text = {"cell_type": "markdown", "source": ["# Title\n", "\n", "Text."]}
    return json.dumps({"cells": [text, {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": list(outputs)}]})


def test_page_has_text_code_and_what_was_returned_in_order() -> None:
    shown = page(notebook({"output_type": "execute_result", "data": {"text/plain": ["1\n", "2\n"]}}))
    assert shown == "# Title\n\nText.\n\n```python\nx = 1\nx\n```\n\n```text\n1\n2\n```\n"


def test_html_is_shown_rather_than_text_in_one_block() -> None:
    data = {"text/html": "<b>run</b>\n\n<i>kl</i>", "text/plain": "Run()"}
    shown = page(notebook({"output_type": "execute_result", "data": data}))
    assert shown.endswith('<div class="output"><b>run</b>\n<i>kl</i></div>\n')
    assert "Run()" not in shown


def test_picture_and_printed_lines_are_shown() -> None:
    shown = page(notebook({"output_type": "display_data", "data": {"image/png": "iVBO\n"}}))
    assert 'src="data:image/png;base64,iVBO"' in shown
    assert "```text\nprinted\n```" in page(notebook({"output_type": "stream", "text": ["printed\n"]}))


def test_output_that_no_page_shows_is_refused() -> None:
    with pytest.raises(ValueError, match="application/x-widget"):
        page(notebook({"output_type": "display_data", "data": {"application/x-widget": {}}}))


def test_notebook_of_the_tutorials_is_a_page() -> None:
    shown = page((DOCS / "tutorials" / "notebook.ipynb").read_text(encoding="utf-8"))
    assert shown.startswith("# A model in a notebook\n")
    assert "nce on moons, finished" in shown
