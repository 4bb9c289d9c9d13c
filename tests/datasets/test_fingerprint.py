"""The fingerprint of a file's rows, and what it tells about a changed file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import File
from ebm_cli.datasets.fingerprint import BLOCKS, Fingerprint, changes, fingerprint
from ebm_cli.datasets.io.mapped import MappedRows
from tests.support import normal

NAMES = ("a", "b", "c")
ROWS = normal(400, 3).float()


def changed(rows: Tensor, names: Sequence[str] | None = NAMES, labels: Tensor | None = None) -> list[str]:
    """Changes from ROWS with NAMES to other rows."""
    return changes(fingerprint(ROWS, NAMES)._asdict(), fingerprint(rows, names, labels))


def edited(row: int, column: int, value: float = 9.0) -> Tensor:
    rows = ROWS.clone()
    rows[row, column] = value
    return rows


def test_same_rows_have_no_changes() -> None:
    assert changed(ROWS.clone()) == []
    assert changed(ROWS.double()) == []


def test_file_without_names_is_recognised_by_its_values() -> None:
    assert changed(ROWS, None) == []


@pytest.mark.parametrize(
    ("rows", "names", "expected"),
    [
        (ROWS[:399], NAMES, ["rows 400 → 399"]),
        (torch.cat([ROWS[:17], ROWS[18:]]), NAMES, ["rows 400 → 399, different from row 17, counted from 0"]),
        (ROWS, ("a", "d", "c"), ["column b renamed d"]),
        (ROWS, ("b", "a", "c"), ["columns in another order: a, b, c → b, a, c"]),
        (ROWS[:, :2], ("a", "b"), ["columns 3 → 2", "column c missing"]),
        (torch.cat([ROWS, ROWS[:, :1]], 1), (*NAMES, "d"), ["columns 3 → 4", "column d new"]),
        (edited(7, 1), NAMES, ["values differ in column b, first in row 7, counted from 0"]),
        (edited(7, 1), None, ["values differ in column b, first in row 7, counted from 0"]),
        (ROWS + 1, NAMES, ["values differ, first in row 0, counted from 0"]),
        (ROWS[:9], ("a", "b", "x"), ["column c renamed x", "rows 400 → 9"]),
        (ROWS.view(400, 1, 3, 1), None, ["shape of a row [3] → [1, 3, 1]"]),
    ],
)
def test_changes_are_named(rows: Tensor, names: Sequence[str] | None, expected: list[str]) -> None:
    assert changed(rows, names) == expected


def test_changed_classes_are_named() -> None:
    labels = torch.arange(400) % 2
    before = fingerprint(ROWS, NAMES, labels)._asdict()
    assert changes(before, fingerprint(ROWS, NAMES, labels.clone())) == []
    assert changes(before, fingerprint(ROWS, NAMES, 1 - labels)) == ["the classes of the rows differ"]


def test_change_in_many_rows_is_found_within_a_block() -> None:
    rows = torch.zeros(10 * BLOCKS, 2)
    other = rows.clone()
    other[1234, 1] = 1.0
    found = changes(fingerprint(rows)._asdict(), fingerprint(other))
    assert found == ["values differ in column 1, first in rows 1,230 to 1,239, counted from 0"]


def test_only_a_sample_of_many_rows_is_hashed() -> None:
    """A change in a row of the sample is seen, one between them is not."""
    rows = torch.arange(float(BLOCKS * 40)).view(-1, 1)

    def found(row: int) -> list[str]:
        other = rows.clone()
        other[row] = -1.0
        before, now = fingerprint(rows, whole=1000), fingerprint(other, whole=1000)
        assert before.is_sample
        return changes(before._asdict(), now)

    assert found(40) == ["values differ, first in rows 40 to 79, counted from 0"]
    assert len(fingerprint(rows, whole=1000).blocks) == BLOCKS


def test_fingerprint_of_a_mapped_array_is_that_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS.double().numpy())
    mapped = MappedRows(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert fingerprint(mapped) == fingerprint(ROWS)


def test_file_has_the_same_fingerprint_in_another_format(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS.numpy())
    np.savetxt(tmp_path / "x.csv", ROWS.numpy(), delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    array, table = File(str(tmp_path / "x.npy")).fingerprint, File(str(tmp_path / "x.csv")).fingerprint
    assert array is not None
    assert table is not None
    assert array._replace(names=["a", "b", "c"]) == table == Fingerprint(**table._asdict())
