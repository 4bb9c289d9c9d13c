"""A run in a notebook: a small table of its results beside their verdicts, and its picture."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

from ebm_cli.evaluation.overall import overall
from ebm_cli.evaluation.result_registry import QUALITIES, describe, verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values, format_value, number
from ebm_cli.reporting.closing_panel import as_sentence
from ebm_cli.reporting.console import relative_path

MOST = 8
"""Rows of the table."""


def card(title: str, results: Values, picture: Path | None, path: Path) -> str:
    """HTML of a few lines, in the colours of the notebook.

    Args:
        title: of the card.
        results: keys of results.json.
        picture: a PNG to show, if there is one.
        path: directory, named below.
    """
    worth = as_sentence(overall(Results(dict(results))).sentence) if results else ""
    rows = "".join(_rows(results))
    table = f"<table>{rows}</table>" if rows else ""
    image = "" if picture is None else _image(picture, title)
    parts = [f"<b>{escape(title)}</b>", escape(worth), table, image, f"<code>{escape(relative_path(path))}</code>"]
    return f"<div>{''.join(f'<div>{part}</div>' for part in parts if part)}</div>"


def _rows(results: Values) -> Iterator[str]:
    """The first results that say how good a model is: label, value and unit, reference, verdict."""
    keys = [result.key for result in QUALITIES if number(results, result.key) is not None][:MOST]
    for key in [*keys, *(["cost/seconds"] if "cost/seconds" in results else [])]:
        found, described = verdict(key, results), describe(key)
        value = f"{format_value(results[key])} {described.unit}".strip()
        cells = (described.label, value, found.reference, found.word)
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _image(picture: Path, title: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    return f'<img alt="{escape(title)}" style="max-width: 100%" src="data:image/png;base64,{data}">'
