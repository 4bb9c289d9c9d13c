"""A second file is read in the way in which its columns are the run's; the run's own keys are tried first."""

from pathlib import Path

import numpy as np
import pytest

from ebm_cli.datasets.io.conditioning_files import read_matched
from ebm_cli.datasets.io.contents import Reading, reading
from ebm_cli.errors import UserError

AMBIGUOUS = "1,5\n2,75\n3,125\n2,5\n"
NUMBERED = "0,1\n5.2,6.1\n7.3,8.4\n9.9,10.2\n6.1,9.3\n"


def rows_of(text: str, folder: Path, width: int, names: tuple[str, ...] | None = None, **keys: object) -> list[object]:
    file = folder / "rows.csv"
    file.write_text(text)
    found: list[object] = read_matched("data", str(file), (width,), names, reading(keys)).rows.tolist()
    return found


def test_keys_of_a_data_set_are_those_of_a_reading() -> None:
    keys = {"path": "x.csv", "columns": ["a", 2], "drop": "id", "decimal": "comma", "seed": 0}
    assert reading(keys) == Reading(columns=("a", 2), drop=("id",), decimal="comma")
    assert reading({}) == Reading()


def test_the_number_of_columns_chooses_between_readings(tmp_path: Path) -> None:
    assert rows_of(AMBIGUOUS, tmp_path, 1) == [[1.5], [2.75], [3.125], [2.5]]
    assert rows_of(AMBIGUOUS, tmp_path, 2) == [[1, 5], [2, 75], [3, 125], [2, 5]]


@pytest.mark.parametrize(("decimal", "factor"), [("point", 1), ("comma", 1000)])
def test_the_runs_own_keys_are_tried_first(decimal: str, factor: float, tmp_path: Path) -> None:
    text = "a;b\n1.250;3.500\n2.300;4.100\n3.400;5.200\n"
    found = rows_of(text, tmp_path, 2, ("a", "b"), decimal=decimal)
    assert found[0] == [1.25 * factor, 3.5 * factor]


def test_a_file_in_another_style_is_still_read(tmp_path: Path) -> None:
    german = {"delimiter": "semicolon", "decimal": "comma", "header": True}
    assert rows_of("b,a\n1.5,2.25\n3.5,4.5\n", tmp_path, 2, ("a", "b"), **german) == [[2.25, 1.5], [4.5, 3.5]]


def test_a_header_of_numbers_is_told_by_the_names(tmp_path: Path) -> None:
    assert len(rows_of(NUMBERED, tmp_path, 2, ("0", "1"))) == 4
    assert len(rows_of(NUMBERED, tmp_path, 2, None, header=False)) == 5


def test_positions_of_columns_are_those_of_the_run(tmp_path: Path) -> None:
    text = "1.5,red,2.5\n3.5,blue,4.5\n2.25,red,1.5\n5.5,red,0.25\n"
    assert rows_of(text, tmp_path, 2, None, label=1)[0] == [1.5, 2.5]
    assert rows_of(text, tmp_path, 1, None, columns=[2])[0] == [2.5]


def test_a_column_that_counts_rows_may_be_the_runs(tmp_path: Path) -> None:
    text = "id,a\n1,5.5\n2,6.25\n3,4.5\n4,7.5\n"
    assert rows_of(text, tmp_path, 2, ("id", "a"), drop=[])[1] == [2, 6.25]
    assert rows_of(text, tmp_path, 1, ("a",), drop=["id"])[1] == [6.25]


def test_what_stays_doubtful_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^data=.*rows\.csv: may have names or numbers in line 1: .* write the file as"
    ):
        rows_of(NUMBERED, tmp_path, 2)
    with pytest.raises(UserError, match=r"can be read in two ways: '1\.250' is 1\.250, .* or as \.npy$"):
        rows_of("a;b\n1.250;3.500\n2.300;4.100\n3.400;5.200\n", tmp_path, 2, ("a", "b"))


def test_a_missing_column_is_named_before_a_column_of_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no column a: its columns are q, b, the run was trained on a, b$"):
        rows_of("q,b,kind\n1.5,2.5,x\n2.5,3.5,y\n4.5,0.5,x\n", tmp_path, 2, ("a", "b"), label="kind")


def test_points_of_samples_npz_are_rows(tmp_path: Path) -> None:
    """`ebm sample` writes their energies beside them."""
    np.savez(tmp_path / "samples.npz", x=np.eye(3), energy=np.arange(3.0))
    assert (
        read_matched("data", str(tmp_path / "samples.npz"), (3,), None, reading({})).rows.tolist() == np.eye(3).tolist()
    )
