"""Tables of Apache Arrow, .parquet and .feather, read by pyarrow, which is an optional dependency."""

import importlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from ebm_cli.datasets.io.contents import InvalidFile, Reading, ReadTable, refuse_damage
from ebm_cli.datasets.io.pandas_call import PandasCall
from ebm_cli.datasets.io.text_files import kind_of
from ebm_cli.errors import first_line
from ebm_cli.system.memory import format_bytes, max_array_bytes

NAMELESS_INDEX = "__index_level_"
"""Begin of the names under which pandas stores an index without one."""


def read_arrow(file: Path, keys: Reading) -> ReadTable:
    """Read the columns of a .parquet, .feather or .arrow file; those that pandas stored as an index are left out.

    Raises:
        InvalidFile: pyarrow is not installed, a damaged file, no columns, or more than memory has room for.
    """
    try:
        importlib.import_module("pyarrow")
    except ImportError:
        raise InvalidFile("needs pyarrow, which is not installed: pip install 'ebm-cli[parquet]'") from None
    with file.open("rb") as opened:
        start = opened.read(8)
        opened.seek(0)
        with refuse_damage(lambda error: f"cannot be read as {file.suffix}: {_fault(file, start, error)}"):
            table = _read_parquet(opened) if start.startswith(b"PAR1") else _read_ipc(opened, start)
            frame = _with_floats(table).to_pandas(ignore_metadata=True, date_as_object=False)
    names: list[str] = list(map(str, table.column_names))
    if not names:
        raise InvalidFile("is empty: it has no columns")
    index = _index_columns(table.schema.metadata or {})
    left_out = {j: "pandas' index" for j, name in enumerate(names) if name in index}
    shown = ["" if name.startswith(NAMELESS_INDEX) else name for name in names]
    # pandas' own names: an index of pandas' is none of its columns, and needs no name
    reader = "read_parquet" if start.startswith(b"PAR1") else "read_feather"
    return ReadTable(
        [frame.iloc[:, j] for j in range(len(names))],
        shown,
        left_out=left_out,
        pandas=lambda: PandasCall(file, reader, (), names),
    )


def _fault(file: Path, start: bytes, error: Exception) -> str:
    """The fault of a damaged file: its first bytes where they are of another kind, or what pyarrow says."""
    kind = kind_of(start)
    return f"its first bytes are those of {kind}" if kind and file.suffix.lower() not in kind else first_line(error)


def _with_floats(table: Any) -> Any:
    """The table with its exact decimals, which pandas has as objects, in float64."""
    arrow: Any = importlib.import_module("pyarrow")
    for i, field in enumerate(table.schema):
        if arrow.types.is_decimal(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(arrow.float64()))
    return table


def _read_parquet(opened: Any) -> Any:
    parquet: Any = importlib.import_module("pyarrow.parquet")
    with parquet.ParquetFile(opened) as read:
        metadata = read.metadata
        _require_room(sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)))
        return read.read()


def _read_ipc(opened: Any, start: bytes) -> Any:
    arrow: Any = importlib.import_module("pyarrow")
    if not start.startswith((b"ARROW1", b"\xff\xff\xff\xff", b"FEA1")):
        raise InvalidFile("is not a table of Apache Arrow: its first bytes are others")
    if start.startswith(b"FEA1"):
        raise InvalidFile("is of the first version of feather: write it again with pandas' to_feather")
    reader = arrow.ipc.open_file(opened) if start.startswith(b"ARROW1") else arrow.ipc.open_stream(opened)
    batches = (
        (reader.get_batch(i) for i in range(reader.num_record_batches)) if hasattr(reader, "get_batch") else reader
    )
    read, n_bytes = [], 0
    for batch in batches:
        n_bytes += batch.nbytes
        _require_room(n_bytes)
        read.append(batch)
    return arrow.Table.from_batches(read, reader.schema)


def _require_room(n_bytes: int) -> None:
    if n_bytes > max_array_bytes():
        size, largest = format_bytes(n_bytes), format_bytes(max_array_bytes())
        raise InvalidFile(f"unpacks to {size}: at most {largest} are read into memory here")


def _index_columns(metadata: dict[bytes, bytes]) -> set[str]:
    """Names of the columns that pandas stored as an index."""
    with suppress(ValueError, TypeError, AttributeError):
        found = json.loads(metadata[b"pandas"])["index_columns"] if b"pandas" in metadata else []
        return {name for name in found if isinstance(name, str)}
    return set()
