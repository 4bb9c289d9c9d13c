"""The call of pandas that reads a table in text in the layout that was found for it."""

from itertools import islice

from ebm_cli.datasets.io.layout import SAMPLE_LINES, Layout
from ebm_cli.datasets.io.pandas_call import PandasCall
from ebm_cli.datasets.io.table_rows import unique_names
from ebm_cli.datasets.io.text_files import TextFile


def csv_call(text: TextFile, layout: Layout) -> PandasCall:
    """The call by which pandas reads a file, and the arguments that write it alike.

    Args:
        text: the file.
        layout: as it was found.
    """
    delimiter, style = layout.delimiter, layout.style
    separator = {" ": r"'\s+'", "\t": r"'\t'"}.get(delimiter, repr(delimiter))
    decimal = [f"decimal={style.decimal!r}"] if style.decimal != "." else []
    write = [f"sep={repr(' ') if delimiter == ' ' else separator}"] if delimiter != "," else []
    read = [f"sep={separator}"] if delimiter != "," else []
    read += decimal
    if style.thousands:
        read.append(f"thousands={style.thousands!r}")
    if text.encoding not in ("utf-8", "utf-8-sig"):
        read.append(f"encoding={text.encoding!r}")
    if text.has_comments:
        read.append("comment='#'")
    read += _skipped(layout)
    if layout.ends_with_delimiter:
        read += [f"usecols=range({layout.width})", "index_col=False"]
    if _has_blanks(text, delimiter):
        read.append("skipinitialspace=True")
    if layout.names is None:
        return PandasCall(text.file, "read_csv", tuple(read), range(layout.width), (*write, *decimal, "header=False"))
    names = [name or f"Unnamed: {j}" for j, name in enumerate(unique_names(layout.names))]
    return PandasCall(text.file, "read_csv", tuple(read), names, (*write, *decimal))


def _skipped(layout: Layout) -> list[str]:
    """Arguments for the lines above the first row: what is no table, the names, and their units."""
    above = layout.header_line - 1 if layout.header_line else layout.n_skipped
    if layout.header_line and layout.n_skipped > layout.header_line:
        return [f"skiprows={[*range(above), layout.n_skipped - 1]}"]
    skipped = [f"skiprows={above}"] if above else []
    if layout.header_line:
        return skipped
    return [*skipped, "header=None" if layout.names is None else f"names={layout.names!r}"]


def _has_blanks(text: TextFile, delimiter: str) -> bool:
    """True if a blank follows a delimiter in one of the first lines, which keeps pandas from seeing a mark."""
    with text.lines() as lines:
        return delimiter != " " and any(f"{delimiter} " in line for line in islice(lines, SAMPLE_LINES))
