"""Tables on a narrow screen: what does not fit side by side is wrapped or stacked, and every number stays whole."""

import copy
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

GAP, INDENT = 2, 2
"""Blanks between two entries of a line; blanks before its continuation."""
EDGES = 2
"""Characters of the left and the right edge of a table, which a folded one does without."""
TIE = "\ue000"
"""Stands for a blank where no line is broken: after a sign or the name of a number (`± 0.1`, `p 0.3`, `ESS 400`)."""


class Fitting:
    """A table where the screen is wide enough for it, else its rows one after the other, each wrapped between entries.

    Args:
        table: the table; the heads of its columns stand before their entries in a row that is wrapped.
        words: positions of columns of words: where that is enough for the screen, their long entries are wrapped
            between words, where it adds the fewest lines, and the table stays a table.
    """

    def __init__(self, table: Table, words: Sequence[int] = ()) -> None:
        self.table = table
        self.words = words

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(table_width(console, self.table), options.max_width)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = folded(self.table, self.words, table_width(console, self.table) - options.max_width)
        if table is None:
            yield from stacked(self.table, options.max_width)
        else:
            yield table


def folded(table: Table, words: Sequence[int], excess: int) -> Table | None:
    """The table, narrower by `excess` characters with its columns of words folded; None if they cannot be so narrow."""
    if excess <= 0:
        return table
    entries = {at: [text_of(cell) for cell in table.columns[at].cells] for at in words}
    widths = {at: max((entry.cell_len for entry in found), default=0) for at, found in entries.items()}
    least = {at: max((_longest_word(entry) for entry in found), default=0) for at, found in entries.items()}
    for _ in range(excess - (EDGES if table.show_edge else 0)):
        able = [at for at in words if widths[at] > least[at]]
        if not able:
            return None
        added = {at: _lines(entries[at], widths[at] - 1) - _lines(entries[at], widths[at]) for at in able}
        widths[min(able, key=lambda at: (added[at], -widths[at]))] -= 1
    narrow = copy.copy(table)
    narrow.show_edge = False
    narrow.columns = [
        replace(column, _cells=[_fold(entry, widths[at]) for entry in entries[at]]) if at in entries else column
        for at, column in enumerate(table.columns)
    ]
    return narrow


def _lines(entries: Sequence[Text], width: int) -> int:
    return sum(_fold(entry, width).plain.count("\n") for entry in entries)


def _fold(entry: Text, width: int) -> Text:
    if entry.cell_len <= width:
        return entry
    lines = textwrap.wrap(_tied(entry), width, break_on_hyphens=False)
    return Text("\n".join(lines).replace(TIE, " "), style=entry.style)


def _longest_word(entry: Text) -> int:
    return max(map(len, _tied(entry).split(" ")))


def _tied(entry: Text) -> str:
    return re.sub(r"(?<!\S)(\S|ESS) ", rf"\1{TIE}", entry.plain)


def table_width(console: Console, table: Table) -> int:
    """Characters that a table needs so that nothing in it is cut or folded."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def stacked(table: Table, width: int) -> Iterator[Text]:
    """The rows of a table as lines of at most `width` characters."""
    if table.title:
        yield from pack([text_of(table.title)], width)
    cells = [[text_of(cell) for cell in column.cells] for column in table.columns]
    heads = [text_of(column.header).plain if table.show_header else "" for column in table.columns]
    for row in zip(*cells, strict=True):
        entries = []
        for column, head, cell in zip(table.columns, heads, row, strict=True):
            if cell.plain.strip():
                cell.stylize(column.style, 0, len(cell))
                cell.rstrip()
                entries.append(Text.assemble((f"{head} ", "dim"), cell) if head else cell)
        yield from pack(entries, width)
    if table.caption:
        yield from pack([text_of(table.caption)], width)


def pack(entries: Sequence[Text], width: int) -> Iterator[Text]:
    """Entries in lines of at most `width` characters; one is broken, between words, only if no line has room for it."""
    line = Text()
    for entry in entries:
        room = width - INDENT
        pieces = [entry]
        if entry.cell_len > room:
            # Blanks inside a number are no-break spaces, where textwrap does not break.
            pieces = [Text(piece, style=entry.style) for piece in textwrap.wrap(entry.plain, max(room, 1))]
        for piece in pieces:
            if line.plain and line.cell_len + GAP + piece.cell_len > width:
                yield line
                line = Text(" " * INDENT)
            line.append(" " * GAP if line.plain.strip() else "")
            line.append_text(piece)
    yield line


def text_of(cell: object) -> Text:
    """The text of a cell, which is a text or has markup."""
    return cell.copy() if isinstance(cell, Text) else Text.from_markup(str(cell))
