"""The fingerprint of a file's rows: it recognises the file that a run was trained on, and tells what has changed.

It is one of the numbers as a run reads them, in float32, not of the bytes of the file: a file that was moved, or that
was written again in another format, is the same. Of more than `WHOLE` numbers a fixed sample of rows is hashed instead
of all, so that it takes about a second at most: a change between the sampled rows is then not seen.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, Rows

WHOLE = 2**28
"""Numbers up to which every row is hashed: 1 GiB in float32."""
SAMPLE = 2**25
"""Numbers that are hashed of more than that."""
BLOCKS = 1024
"""Blocks of rows with a hash of their own, at most: they tell where two files differ first."""
COLUMNS, COLUMN_NUMBERS = 256, 2**24
"""Columns, and numbers in all, up to which each column has a hash of its own."""
NAMED = 8
"""Columns that a message names, at most."""


class Fingerprint(NamedTuple):
    """The fingerprint of rows; `_asdict()` is its plain form in a checkpoint.

    Attributes:
        digest: hash of the hashes of all blocks.
        rows: number of rows.
        shape: of one row.
        names: one a column; None if the file has none.
        labels: hash of the classes of the rows; None without classes.
        columns: hash of each column; empty for more than `COLUMNS` columns or `COLUMN_NUMBERS` numbers.
        blocks: hash of each block of rows.
        block_rows: rows from the beginning of a block to that of the next.
        is_sample: whether only some rows of each block are hashed.
    """

    digest: str
    rows: int
    shape: list[int]
    names: list[str] | None
    labels: str | None
    columns: list[str]
    blocks: list[str]
    block_rows: int
    is_sample: bool


def fingerprint(
    rows: Rows, names: Sequence[str] | None = None, labels: Tensor | None = None, whole: int = WHOLE
) -> Fingerprint:
    """Compute the fingerprint of rows [N, *shape], N ≥ 1, whose columns may have names and rows classes [N].

    Cost: one pass over at most `whole` numbers.
    """
    n, row_numbers = len(rows), max(1, math.prod(rows.shape[1:]))
    block_rows, is_sample = -(-n // BLOCKS), n * row_numbers > whole
    hashed_rows = max(1, SAMPLE // (BLOCKS * row_numbers)) if is_sample else block_rows
    has_columns = row_numbers <= COLUMNS and n * row_numbers <= COLUMN_NUMBERS
    columns = [hashlib.blake2b(digest_size=4) for _ in range(row_numbers if has_columns else 0)]
    blocks, total = [], hashlib.blake2b(digest_size=16)
    for start in range(0, n, block_rows):
        block = hashlib.blake2b(digest_size=16)
        for x in _pieces(rows, start, min(start + min(hashed_rows, block_rows), n), row_numbers):
            block.update(x.numpy().data)
            for j, column in enumerate(columns):
                column.update(x[:, j].contiguous().numpy().data)
        total.update(block.digest())
        blocks.append(block.hexdigest()[:8])
    return Fingerprint(
        total.hexdigest(),
        n,
        list(rows.shape[1:]),
        None if names is None else list(names),
        None if labels is None else hashlib.blake2b(labels.cpu().long().numpy().data, digest_size=8).hexdigest(),
        [column.hexdigest() for column in columns],
        blocks,
        block_rows,
        is_sample,
    )


def changes(before: Mapping[str, Any], now: Fingerprint) -> list[str]:
    """Describe what differs between the rows of a run and those of a file; empty if it is the same.

    Args:
        before: the plain form of a fingerprint, as a checkpoint stores it.
        now: that of the file.
    """
    was = Fingerprint(**before)
    found = _changed_columns(was, now)
    if was.rows != now.rows:
        found.append(f"rows {was.rows:,} → {now.rows:,}{_first_difference(was, now, ', different from ')}")
    elif was.shape == now.shape and was.digest != now.digest:
        found.append(f"values differ{_other_columns(was, now)}{_first_difference(was, now, ', first in ')}")
    if was.labels != now.labels and was.rows == now.rows:
        found.append("the classes of the rows differ")
    return found


def _pieces(rows: Rows, start: int, end: int, row_numbers: int) -> Iterator[Tensor]:
    """Rows start … end − 1 in float32, flat, at most `CHUNK_NUMBERS` numbers at a time."""
    step = max(1, CHUNK_NUMBERS // row_numbers)
    for first in range(start, end, step):
        yield rows[first : min(first + step, end)].to("cpu", torch.float32).flatten(1).contiguous()


def _changed_columns(was: Fingerprint, now: Fingerprint) -> list[str]:
    """Sentences on the number, the shape and the names of the columns."""
    found = []
    if was.shape != now.shape:
        flat = len(was.shape) == len(now.shape) == 1
        before, after = (f"{shape[0]}" if flat else str(shape) for shape in (was.shape, now.shape))
        found.append(f"{'columns' if flat else 'shape of a row'} {before} → {after}")
    if was.names is None or now.names is None or was.names == now.names:
        return found
    gone, new = ([name for name in a if name not in b] for a, b in ((was.names, now.names), (now.names, was.names)))
    if not gone and not new:
        return [*found, f"columns in another order: {_listed(was.names)} → {_listed(now.names)}"]
    if len(was.names) == len(now.names) and all(
        (a in gone) == (b in new) for a, b in zip(was.names, now.names, strict=True)
    ):
        return [*found, *(f"column {a} renamed {b}" for a, b in list(zip(gone, new, strict=True))[:NAMED])]
    return [
        *found,
        *([f"column{'s' * (len(gone) > 1)} {_listed(gone)} missing"] if gone else []),
        *([f"column{'s' * (len(new) > 1)} {_listed(new)} new"] if new else []),
    ]


def _other_columns(was: Fingerprint, now: Fingerprint) -> str:
    """The columns whose values differ, unless all do."""
    other = [j for j, (a, b) in enumerate(zip(was.columns, now.columns, strict=False)) if a != b]
    if not other or len(other) == len(now.columns):
        return ""
    names = now.names or was.names
    shown = [names[j] if names else str(j) for j in other]
    return f" in column{'s' * (len(other) > 1)} {_listed(shown)}"


def _first_difference(was: Fingerprint, now: Fingerprint, prefix: str) -> str:
    """The first row or block of rows that differs, if the two can be compared so."""
    if was.block_rows != now.block_rows or was.shape != now.shape or was.is_sample != now.is_sample:
        return ""
    pairs = zip(was.blocks, now.blocks, strict=False)
    first = next((k for k, (a, b) in enumerate(pairs) if a != b), None)
    if first is None:
        return ""
    if now.block_rows == 1:
        return f"{prefix}row {first}, counted from 0"
    start = first * now.block_rows
    return f"{prefix}rows {start:,} to {start + now.block_rows - 1:,}, counted from 0"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
