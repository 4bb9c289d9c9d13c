"""Tables of Apache Arrow, .parquet and .feather, read by pyarrow, which is an optional dependency."""

import importlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ebm_cli.datasets.io.contents import GROUP, InvalidFile, Reading, ReadTable, key, refuse_damage
from ebm_cli.datasets.io.pandas_call import PandasCall, copy_keys
from ebm_cli.datasets.io.rewriting import copy_of, near, python_command
from ebm_cli.datasets.io.table_rows import unique_names
from ebm_cli.datasets.io.text_files import kind_of
from ebm_cli.errors import first_line
from ebm_cli.quoting import typed
from ebm_cli.system.memory import format_bytes, max_array_bytes

PANDAS_READERS = {b"PAR1": "read_parquet", b"ARROW1": "read_feather"}
"""First bytes of a file → function of pandas that reads it; none reads a stream."""
FRAMES = {
    b"PAR1": ("pyarrow.parquet", "pyarrow.parquet.ParquetFile({0}).read().to_pandas()"),
    b"ARROW1": ("pyarrow.feather", "pyarrow.feather.read_table({0}).to_pandas()"),
    b"\xff\xff\xff\xff": ("pyarrow", "pyarrow.ipc.open_stream(pyarrow.OSFile({0})).read_pandas()"),
}
"""First bytes of a file → library and expression of its table, which has columns of one name as well."""
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
            table = _read_parquet(opened) if start.startswith(b"PAR1") else _read_ipc(opened, file, start)
            frame = _with_floats(table).to_pandas(ignore_metadata=True, date_as_object=False)
    names: list[str] = list(map(str, table.column_names))
    if not names:
        raise InvalidFile("is empty: it has no columns")
    metadata = _pandas_metadata(table.schema.metadata or {})
    index = {name for name in metadata.get("index_columns", ()) if isinstance(name, str)}
    left_out = {j: f"pandas' index, which {key('drop')} keeps" for j, name in enumerate(names) if name in index}
    shown = ["" if name.startswith(NAMELESS_INDEX) else name for name in names]
    are_unique = len(set(names)) == len(names)
    is_copied = not index or (are_unique and not keys.keeps_index)
    return ReadTable(
        [frame.iloc[:, j] for j in range(len(names))],
        shown,
        left_out=left_out,
        rewriting=(lambda keys: _call(file, start, names, metadata, copy_keys(shown, keys))) if is_copied else None,
    )


def _call(
    file: Path, start: bytes, names: Sequence[str], metadata: dict[str, Any], keys: tuple[str, ...]
) -> PandasCall:
    """The call that reads a file with these first bytes, whose columns get names of their own where two have one."""
    (magic,) = (magic for magic in FRAMES if start.startswith(magic))
    library, frame = FRAMES[magic]
    if (own := unique_names(names)) != list(names):
        return PandasCall(file, "", (), own, keys=keys, frame=f"{frame}.set_axis({own!r}, axis=1)", library=library)
    shown = _pandas_names(names, metadata)
    if magic in PANDAS_READERS:
        return PandasCall(file, PANDAS_READERS[magic], (), shown, keys=keys)
    return PandasCall(file, "", (), shown, keys=keys, frame=frame, library=library)


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


def _read_ipc(opened: Any, file: Path, start: bytes) -> Any:
    arrow: Any = importlib.import_module("pyarrow")
    if not start.startswith((b"ARROW1", b"\xff\xff\xff\xff", b"FEA1")):
        raise InvalidFile("is not a table of Apache Arrow: its first bytes are others")
    if start.startswith(b"FEA1"):
        copy = copy_of(file, ".feather")
        again = f"import pandas; pandas.read_feather({str(near(file))!r}).to_feather({str(copy)!r})"
        command = f"{python_command(again)} and {typed(f'{GROUP}.path', copy)}"
        raise InvalidFile(f"is of the first version of feather; to write it as the second: {command}")
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
