"""Tables on a narrow screen: what does not fit side by side is wrapped or stacked, and every number stays whole."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

GAP, INDENT = 2, 2
"""Blanks between two entries of a line; blanks before its continuation."""


class Fitting:
    """A table where the screen is wide enough for it, else its rows one after the other, each wrapped between entries.

    Args:
        table: the table; the heads of its columns stand before their entries in a row that is wrapped.
        words: position of a column of words, the only one without no_wrap: where that is enough for the screen, its
            entries are wrapped between words, and the table stays a table.
    """

    def __init__(self, table: Table, words: int | None = None) -> None:
        self.table = table
        self.words = words

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(table_width(console, self.table), options.max_width)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if table_width(console, self.table) - self._slack() <= options.max_width:
            yield self.table
        else:
            yield from stacked(self.table, options.max_width)

    def _slack(self) -> int:
        """Characters by which the column of words can shrink without a word that is cut."""
        if self.words is None:
            return 0
        entries = [text_of(cell).plain for cell in self.table.columns[self.words].cells]
        longest = max((len(word) for entry in entries for word in entry.split()), default=0)
        return max(map(len, entries), default=0) - longest


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
