"""The strangest rows of a file, as a table, and how many rows do not belong to the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from torch import Tensor

from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.row_scores import RowScores
from ebm_cli.evaluation.values import Value, format_value

STRANGEST = 10
"""Rows in the table."""
STRANGE = 0.01
"""p-value up to which a row is counted as one that does not belong."""
GAP = 3
"""Blanks between two columns of the table."""


def summary(scores: RowScores, held_out: Tensor | None) -> Results:
    """The number of rows, of held-out rows and, if these are enough, of strange ones, with sentences about them."""
    n, n_missing = len(scores.energy), int(scores.energy.isnan().sum())
    values: dict[str, Value] = {"density/rows": n - n_missing}
    notes = []
    if n_missing:
        first = ", ".join(str(int(i)) for i in scores.energy.isnan().nonzero()[:5, 0])
        more = ", …" if n_missing > 5 else ""
        notes.append(f"{_rows(n_missing)} a missing number and no score: row {first}{more}.")
    if scores.log_p is None:
        notes.append("log p is unknown: energy only. log Z is not known, but the order by energy is that by log p.")
    if held_out is None or scores.p_value is None:
        return Results(values, notes=tuple(notes))
    smallest, n_strange = 1 / (1 + len(held_out)), int((scores.p_value <= STRANGE).sum())
    values["density/held_out"] = len(held_out)
    if smallest > STRANGE:
        n_smallest = int((scores.p_value <= smallest * 1.0001).sum())
        above = f"an energy above all {len(held_out)} held-out rows"
        notes.append(
            f"{_rows(n_smallest)} {above}, whose number allows no p-value below {smallest:.2g}: more held-out rows "
            "(dataset.test_fraction) would tell them apart."
            if n_smallest
            else f"No row has {above}."
        )
    else:
        values["density/strange"] = n_strange
        expected = STRANGE * (n - n_missing)
        notes.append(
            f"{_rows(n_strange)} p <= {STRANGE}; about {expected:,.3g} would, if all were drawn like the held-out rows."
        )
    return Results(values, notes=tuple(notes))


def strangest_table(
    scores: RowScores, rows: Sequence[int], x: Tensor, names: Sequence[str] | None, width: int
) -> Table:
    """Build the table of the strangest rows, those with the highest energy.

    Args:
        scores: of all rows.
        rows: positions of the rows to show.
        x: their values [len(rows), *shape], data units.
        names: one a column; None numbers them.
        width: of the terminal, characters: values of the first columns are shown as far as they fit.
    """
    columns = {"row": [f"{i:,}" for i in rows], "energy": [format_value(float(scores.energy[i])) for i in rows]}
    if scores.log_p is not None:
        columns["log p"] = [format_value(float(scores.log_p[i])) for i in rows]
    if scores.p_value is not None:
        columns["p"] = [format_value(float(scores.p_value[i])) for i in rows]
    flat = x.flatten(1)
    room = width - sum(_width(head, cells) for head, cells in columns.items())
    n_shown = 0
    for j in range(flat.shape[1]):
        head = f"x{j}" if names is None else names[j][:20]
        cells = [_as_given(value) for value in flat[:, j].numpy()]
        room -= _width(head, cells)
        if room < 0:
            break
        # Two columns of one name stay two.
        columns[head if head not in columns else f"{head} ({j})"], n_shown = cells, j + 1
    hidden = flat.shape[1] - n_shown
    caption = f"{hidden:,} more column{'s' if hidden > 1 else ''}" if hidden else None
    title = "the only row" if len(rows) == 1 else f"the {len(rows)} strangest rows, highest energy first"
    table = Table(title=title, caption=caption, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, GAP - 1, 0, 0)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for line in zip(*columns.values(), strict=True):
        table.add_row(*line)
    return table


def _as_given(value: np.floating[Any]) -> str:
    """A number as it stands in a file: the shortest text that gives it in its type, of eight digits at most."""
    return f"{float(str(value)):.8g}"


def _rows(n: int) -> str:
    return "1 row has" if n == 1 else f"{n:,} rows have"


def _width(head: str, cells: Sequence[str]) -> int:
    return max(map(len, (head, *cells)), default=0) + GAP
