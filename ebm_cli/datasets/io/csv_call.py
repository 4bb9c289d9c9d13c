"""The call of pandas that reads a table in text in the layout that was found for it."""

from collections.abc import Sequence
from itertools import islice

from ebm_cli.datasets.io.contents import Reading
from ebm_cli.datasets.io.layout import SAMPLE_LINES, Layout
from ebm_cli.datasets.io.pandas_call import PandasCall, copy_keys
from ebm_cli.datasets.io.table_rows import unique_names
from ebm_cli.datasets.io.text_files import TextFile

COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
"""First bytes of a file → its compression, in the words of pandas."""
SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
"""Suffix of a file → the compression that pandas expects."""


def csv_call(text: TextFile, layout: Layout, keys: Reading) -> PandasCall:
    """The call by which pandas reads a file, the arguments that write it alike, and the keys that read the copy.

    Args:
        text: the file.
        layout: as it was found.
        keys: by which it was read.
    """
    delimiter, style = layout.delimiter, layout.style
    separator = {" ": r"r'\s+'", "\t": r"'\t'"}.get(delimiter, repr(delimiter))
    decimal = [f"decimal={style.decimal!r}"] if style.decimal != "." else []
    write = [f"sep={repr(' ') if delimiter == ' ' else separator}"] if delimiter != "," else []
    read = [f"sep={separator}"] if delimiter != "," else []
    read += decimal
    if style.thousands:
        read.append(f"thousands={style.thousands!r}")
    if text.encoding not in ("utf-8", "utf-8-sig"):
        read.append(f"encoding={text.encoding!r}")
    read += _compression(text)
    if text.has_comments:
        read.append("comment='#'")
    read += _skipped(layout, _has_blank_names(text, layout))
    if layout.ends_with_delimiter:
        read += [f"usecols=range({layout.width})", "index_col=False"]
    if _has_blanks(text, delimiter):
        read.append("skipinitialspace=True")
    names: Sequence[str | int] = range(layout.width)
    if layout.names is not None:
        names = [name or f"Unnamed: {j}" for j, name in enumerate(unique_names(layout.names))]
    writing = (*write, *decimal, *(["header=False"] if layout.names is None else []))
    return PandasCall(text.file, "read_csv", tuple(read), names, writing, copy_keys(layout.names, keys, style))


def _compression(text: TextFile) -> list[str]:
    """The compression of the file, where it is not the one that its name tells pandas."""
    with text.file.open("rb") as opened:
        start = opened.read(6)
    kind = next((kind for magic, kind in COMPRESSIONS.items() if start.startswith(magic)), None)
    return [] if kind == SUFFIXES.get(text.file.suffix.lower()) else [f"compression={kind!r}"]


def _skipped(layout: Layout, has_blank_names: bool) -> list[str]:
    """Arguments for the lines above the first row: what is no table, the names, and their units."""
    is_read = layout.header_line > 0 and not has_blank_names
    above = layout.header_line - 1 if is_read else layout.n_skipped
    if is_read and layout.n_skipped > layout.header_line:
        return [f"skiprows={[*range(above), layout.n_skipped - 1]}"]
    skipped = [f"skiprows={above}"] if above else []
    if is_read:
        return skipped
    return [*skipped, "header=None" if layout.names is None else f"names={unique_names(layout.names)!r}"]


def _has_blank_names(text: TextFile, layout: Layout) -> bool:
    """True if a name is followed by a blank, which pandas takes for a part of it."""
    if not layout.header_line or layout.delimiter == " ":
        return False
    with text.lines() as lines:
        line = next(islice(lines, layout.header_line - 1, None)).rstrip("\r\n")
    return any(cell.strip('"') != cell.strip('"').rstrip() for cell in line.split(layout.delimiter))


def _has_blanks(text: TextFile, delimiter: str) -> bool:
    """True if a blank follows a delimiter in one of the first lines, which keeps pandas from seeing a mark."""
    with text.lines() as lines:
        return delimiter != " " and any(f"{delimiter} " in line for line in islice(lines, SAMPLE_LINES))
