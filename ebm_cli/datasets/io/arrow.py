"""Tables of Apache Arrow, .parquet and .feather, read by pyarrow, which is an optional dependency."""

import importlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ebm_cli.datasets.io.contents import InvalidFile, Reading, ReadTable, key, refuse_damage
from ebm_cli.datasets.io.pandas_call import PandasCall, copy_keys
from ebm_cli.datasets.io.text_files import kind_of
from ebm_cli.errors import first_line
from ebm_cli.system.memory import format_bytes, max_array_bytes

PANDAS_READERS = {b"PAR1": "read_parquet", b"ARROW1": "read_feather"}
"""First bytes of a file → function of pandas that reads it; none reads a stream."""
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
    metadata = _pandas_metadata(table.schema.metadata or {})
    index = {name for name in metadata.get("index_columns", ()) if isinstance(name, str)}
    left_out = {j: f"pandas' index, which {key('drop')} keeps" for j, name in enumerate(names) if name in index}
    shown = ["" if name.startswith(NAMELESS_INDEX) else name for name in names]
    readers = (reader for magic, reader in PANDAS_READERS.items() if start.startswith(magic))
    reader = None if (index and keys.keeps_index) or len(set(names)) < len(names) else next(readers, None)
    return ReadTable(
        [frame.iloc[:, j] for j in range(len(names))],
        shown,
        left_out=left_out,
        rewriting=None
        if reader is None
        else lambda keys: PandasCall(file, reader, (), _pandas_names(names, metadata), keys=copy_keys(shown, keys)),
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


def _pandas_metadata(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Notes of pandas on its columns and its index; empty for a file of another program."""
    with suppress(ValueError):
        found = json.loads(metadata.get(b"pandas", b"{}"))
        return found if isinstance(found, dict) else {}
    return {}


def _pandas_names(names: Sequence[str], metadata: dict[str, Any]) -> Sequence[str | int]:
    """The names as pandas has them, which are numbers for the columns of an array."""
    indexes = metadata.get("column_indexes") or [{}]
    is_number = indexes[0].get("pandas_type") == "int64"
    return [int(name) if is_number and name.lstrip("-").isdecimal() else name for name in names]
