"""Layout of a table in text: what separates columns, how numbers are written, and which lines are no rows.

The first lines of the file are read in every way that people write tables. A reading in which every cell is a number
wins; if two of them give different numbers, or the first line may be names or numbers, the file is refused with both
readings and the keys that choose.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple, Never

from ebm_cli.datasets.io.contents import GROUP, InvalidFile, Reading, counted, listed
from ebm_cli.datasets.io.header import first_line_is_header, is_unit_line
from ebm_cli.datasets.io.number_format import MISSING, NumberFormat, best_formats, candidates, mark_of, word_of
from ebm_cli.datasets.io.row_names import DELIMITERS, are_row_names, refuse_numbers
from ebm_cli.datasets.io.text_files import TextFile
from ebm_cli.quoting import typed

SAMPLE_LINES = 1000
SAMPLE_CHARACTERS = 2**21
_EXCEL_MARK = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""First line by which Excel is told what separates columns."""


class Record(NamedTuple):
    """A line of a table: its number in the file (of a cell over several lines, the last), and its cells."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Layout:
    """The way in which a table is written.

    Attributes:
        delimiter: character between columns; " " for any number of blanks.
        style: of the numbers.
        n_skipped: lines above the first row.
        names: one a column; None if the file has none.
        width: columns of a row.
        ends_with_delimiter: each line ends with one more delimiter, behind which nothing stands.
        left_out: position of a column of row names → reason.
        notes: sentences on lines that were left out.
        header_line: line of the names, from 1; 0 if they stand in no line of their own.
    """

    delimiter: str
    style: NumberFormat
    n_skipped: int
    names: list[str] | None
    width: int
    ends_with_delimiter: bool = False
    left_out: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    header_line: int = 0


class _Candidate(NamedTuple):
    """One way to read the sample: its records, their usual width, and its formats of numbers."""

    delimiter: str
    records: list[Record]
    width: int
    formats: list[NumberFormat]
    n_text: int
    n_numeric_columns: int

    @property
    def fit(self) -> float:
        """Share of the lines that have the usual width."""
        return sum(len(record.cells) == self.width for record in self.records[1:]) / max(1, len(self.records) - 1)

    @property
    def begins_with_numbers(self) -> bool:
        """True if every cell of the first line is a number in the first format."""
        return all(map(self.formats[0].is_number, self.records[0].cells))

    def values(self, style: NumberFormat) -> list[list[str]]:
        """The cells of the rows, numbers as Python writes them."""
        return [
            [style.plain(cell) if style.is_number(cell) else cell for cell in record.cells]
            for record in self.records[1:]
        ]


def split_lines(lines: Iterator[str], delimiter: str, skip_comments: bool = True) -> Iterator[Record]:
    """Yield the records of a text that are not blank and no comments; blanks around a cell are cut."""
    if delimiter == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    n_read = 0
    for line in lines:
        if '"' in line and not line.lstrip().startswith("#"):
            # Only a line with quotes needs a parser, which may take further lines; its cells have a limited length.
            reader = csv.reader(chain([line], lines), delimiter=delimiter, skipinitialspace=True)
            cells = next(reader)
            n_read += reader.line_num
        else:
            cells = line.split() if delimiter == " " else line.split(delimiter)
            n_read += 1
        stripped = [cell.strip() for cell in cells]
        if any(stripped) and not (skip_comments and stripped[0].startswith("#") and stripped[0] not in MISSING):
            yield Record(n_read, stripped)


def find_layout(text: TextFile, keys: Reading) -> Layout:
    """Find the layout of a file, as far as keys do not give it.

    Raises:
        InvalidFile: an empty file, or one that may be read in two ways; the message shows both, and the keys for each.
    """
    lines, is_whole = _sample(text)
    if lines and (marked := _EXCEL_MARK.fullmatch(lines[0].strip())):
        lines[0], keys = "\n", replace(keys, delimiter=keys.delimiter or marked[1])
    chosen, style = _choose(lines, is_whole, keys)
    return _describe_lines(chosen, style, lines, keys)


def _sample(text: TextFile) -> tuple[list[str], bool]:
    """The first lines, and whether they are all."""
    lines: list[str] = []
    n = 0
    with text.lines() as opened:
        for line in opened:
            lines.append(line)
            n += len(line)
            if len(lines) >= SAMPLE_LINES or n > SAMPLE_CHARACTERS:
                return lines, False
    return lines, True


def _choose(lines: list[str], is_whole: bool, keys: Reading) -> tuple[_Candidate, NumberFormat]:
    delimiter = mark_of("delimiter", keys.delimiter)
    decimal, thousands = mark_of("decimal", keys.decimal), mark_of("thousands", keys.thousands)
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be point or comma, got {keys.decimal!r}")
    formats = candidates(decimal, thousands)
    tried = [delimiter] if delimiter else [d for d in DELIMITERS if d != decimal or any('"' in line for line in lines)]
    found = [c for d in tried if (c := _read_as(lines, is_whole, d, formats)) is not None]
    if not found:
        raise InvalidFile("is empty: it has no row of numbers")
    found = [c for c in found if c.fit >= 0.5] or found
    if _is_names(found[0]):
        # As many names as columns settle it; several, better than one; and R leaves out the name of its row names.
        numeric = [c for c in found if c.n_numeric_columns and not _has_comma_in_its_name(c)] or found
        named = [c for c in numeric if len(c.records[0].cells) == c.width]
        shorter = [c for c in numeric if len(c.records[0].cells) == c.width - 1]
        found = [c for c in named if c.width > 1] or named or shorter or numeric
    clean = [c for c in found if c.n_text == 0 and c.fit == 1 and c.n_numeric_columns]
    if not clean:
        best = max(found, key=lambda c: (c.n_numeric_columns, c.fit, -c.n_text, c.width))
        return best, _only_format(best, keys)
    # A first line of numbers is a row, which must be one, too.
    clean = [c for c in clean if c.begins_with_numbers] or clean
    best = clean[0]
    style = _only_format(best, keys)
    for other in clean[1:]:
        if best.values(style) != other.values(other.formats[0]):
            _raise_ambiguous(_reading(best, style), _reading(other, other.formats[0]))
    return best, style


def _read_as(lines: list[str], is_whole: bool, delimiter: str, formats: Sequence[NumberFormat]) -> _Candidate | None:
    try:
        records = list(split_lines(iter(lines), delimiter))
    except csv.Error:
        return None
    if not is_whole and len(records) > 2:
        records.pop()  # it may be cut within a cell of several lines
    if not records:
        return None
    rows = records[1:] or records
    widths = Counter(len(record.cells) for record in rows)
    width = max(widths, key=lambda n: (widths[n], n == len(records[0].cells)))
    rows = [record for record in rows if len(record.cells) == width]
    used, _ = best_formats((cell for record in rows for cell in record.cells), formats)
    columns = [[record.cells[j] for record in rows if record.cells[j] not in MISSING] for j in range(width)]
    text = [sum(not used[0].is_number(cell) for cell in column) for column in columns]
    numeric = sum(bool(column) and n <= len(column) / 2 for n, column in zip(text, columns, strict=True))
    return _Candidate(delimiter, records, width, used, sum(text), numeric)


def _is_names(candidate: _Candidate) -> bool:
    """True if no cell of the first line is a number, in any format."""
    cells = candidate.records[0].cells
    return not any(style.is_number(cell) for cell in cells for style in candidates(None, None))


def _has_comma_in_its_name(candidate: _Candidate) -> bool:
    """True for one column of decimal commas below a name with a comma: rather several names, above other columns."""
    return candidate.width == 1 and candidate.formats[0].decimal == "," and "," in candidate.records[0].cells[0]


def _only_format(candidate: _Candidate, keys: Reading) -> NumberFormat:
    """The format of a reading's numbers.

    Raises:
        InvalidFile: two formats read different values, or each reads numbers that the other one does not.
    """
    first, *others = candidate.formats
    # With a comma or a tab between columns, people who write 1.234 mean a decimal point.
    doubtful = [o for o in others if first != NumberFormat() or candidate.delimiter == ";"]
    if not doubtful:
        return first
    other = doubtful[0]
    cells = [cell for record in candidate.records[1:] for cell in record.cells]
    both = (c for c in cells if first.is_number(c) and other.is_number(c) and first.plain(c) != other.plain(c))
    cell = next(both, None)
    if cell is None and not first.thousands and not other.thousands:
        return first  # the columns with the other mark are refused, with a command that writes them anew
    if cell is None:
        mine, theirs = (
            next(c for c in cells if a.is_number(c) and not b.is_number(c)) for a, b in ((first, other), (other, first))
        )
        raise InvalidFile(f"writes its numbers in two ways, {mine!r} and {theirs!r}: write them alike")
    return _raise_ambiguous(*((f"{cell!r} is {s.plain(cell)}", _key_of(s)) for s in (first, other)))


def _key_of(style: NumberFormat) -> str:
    """The key that chooses a format, as it is typed."""
    if style.thousands:
        return typed(f"{GROUP}.thousands", word_of(style.thousands))
    return typed(f"{GROUP}.decimal", word_of(style.decimal))


def _reading(candidate: _Candidate, style: NumberFormat) -> tuple[str, str]:
    """A reading in words, with its first row, and the key that chooses it."""
    first = candidate.records[1 if _is_names(candidate) else 0].cells
    row = [style.plain(cell) if style.is_number(cell) else cell for cell in first[:4]]
    said = f"{counted(candidate.width, 'column')} ({' | '.join(row)})"
    if candidate.width == 1:
        return said, _key_of(style)
    return said, typed(f"{GROUP}.delimiter", word_of(candidate.delimiter))


def _raise_ambiguous(*readings: tuple[str, str]) -> Never:
    (one, first), (other, second) = readings
    raise InvalidFile(f"can be read in two ways: {one}, or {other}. {first} chooses the first, {second} the second")


def _describe_lines(chosen: _Candidate, style: NumberFormat, lines: list[str], keys: Reading) -> Layout:
    """Find names, units, a trailing delimiter and a column of row names."""
    records, width = chosen.records, chosen.width
    rows = [record for record in records[1:] if len(record.cells) == width]
    ends = bool(width > 1 and rows and all(record.cells[-1] == "" for record in rows))
    ends = ends and chosen.delimiter != " " and (len(records[0].cells) < width or records[0].cells[-1] == "")
    width -= ends
    cells = records[0].cells[: len(records[0].cells) - (ends and len(records[0].cells) > width)]
    below = [record.cells[:width] for record in rows]
    has_header = first_line_is_header(cells, below, style, keys.header, records[0].line)
    left_out: dict[int, str] = {}
    notes: list[str] = []
    if not has_header:
        comment = _comment_names(lines, records[0].line, chosen.delimiter, width) if keys.header is None else None
        n_skipped = _line_before(lines, records[0], chosen.delimiter)
        return Layout(chosen.delimiter, style, n_skipped, comment, width, ends, left_out)
    names = list(cells)
    if len(names) == width - 1 and are_row_names([row[0] for row in below], style):
        names = ["", *names]
        left_out[0] = "row names"
    if names[0] == "" and keys.delimiter is None:
        header = lines[records[0].line - 1] if left_out else None
        refuse_numbers(below, chosen.delimiter, header)
    if len(names) != width:
        raise InvalidFile(
            f"has {counted(len(names), 'name')} in line {records[0].line} ({listed(names)}) above "
            f"{counted(width, 'column')} in line {records[1].line}: "
            "remove what is no table, or complete the names"
        )
    n_skipped = records[0].line
    if len(records) > 2 and keys.header is not False and is_unit_line(records[1].cells[:width], below[1:], style):
        n_skipped = records[1].line
        notes.append(f"line {records[1].line} ({listed(records[1].cells)}) was left out: units")
    return Layout(chosen.delimiter, style, n_skipped, names, width, ends, left_out, tuple(notes), records[0].line)


def _line_before(lines: list[str], first: Record, delimiter: str) -> int:
    """Number of lines above a record, which may itself span several."""
    spans = 0
    while spans < first.line - 1:
        start = first.line - spans - 1
        records = list(split_lines(iter(lines[start : first.line]), delimiter, skip_comments=False))
        if records and records[-1].cells == first.cells:
            return start
        spans += 1
    return 0


def _comment_names(lines: list[str], line: int, delimiter: str, width: int) -> list[str] | None:
    """Names in a comment above the numbers, as numpy.savetxt(header=…) writes them; None if there are none."""
    comments = [text.strip().lstrip("#") for text in lines[: line - 1] if text.strip().startswith("#")]
    for split in dict.fromkeys((delimiter, " ", ",")) if comments else ():
        found = next(split_lines(iter([comments[-1]]), split), None)
        if found is not None and len(found.cells) == width and not any(map(NumberFormat().is_number, found.cells)):
            return found.cells
    return None
