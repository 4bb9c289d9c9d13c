"""Columns of a table: chosen, left out with a word, or refused with the key that leaves them out."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.support import read_text

TABLE = "id,a,b,kind\n7,1.5,2,x\n3,2.5,3,y\n9,1.2,2,x\n4,-1.0,5,y\n8,0.5,1,x\n"


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"columns": ("b", "a")}, ("b", "a")),
        ({"columns": (2, 1)}, ("b", "a")),
        ({"columns": (-2,)}, ("b",)),
        ({"drop": ("id", "kind")}, ("a", "b")),
        ({"drop": (0,), "label": "kind"}, ("a", "b")),
        ({"columns": ("a",), "label": 3}, ("a",)),
    ],
)
def test_keys_choose_columns_by_name_or_position(keys: dict[str, Any], names: tuple[str, ...], tmp_path: Path):
    read = read_text(tmp_path, TABLE, **keys)
    values = {"a": [1.5, 2.5, 1.2, -1.0, 0.5], "b": [2.0, 3.0, 2.0, 5.0, 1.0]}
    assert read.column_names == names
    for column, name in zip(read.rows[:].T.tolist(), names, strict=True):
        assert column == pytest.approx(values[name])
    assert (read.labels is None) == ("label" not in keys)


def test_whole_number_is_a_name_before_it_is_a_position(tmp_path: Path):
    content = "2019,2020,1\n5.5,6.5,1.5\n7.5,8.5,2.5\n9.5,9.5,3.5\n1.5,9.5,1.5\n"
    assert read_text(tmp_path, content, header=True, columns=(2020, 1)).column_names == ("2020", "1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"columns": ("c",)}, "columns: no column 'c'; the file has id, a, b, kind"),
        ({"drop": ("knd",)}, "drop: no column 'knd'; the file has id, a, b, kind; did you mean kind?"),
        ({"columns": (9,)}, "columns: no column 9; the file has 4 columns"),
        ({"columns": ("a", 1)}, "columns must name no column twice"),
        ({"columns": ("a", "kind"), "label": "kind"}, "columns must not hold the label, kind"),
        ({"columns": ("a",), "drop": ("a",)}, r"drop and columns both name column a"),
        ({"drop": ("id", "a", "b", "kind")}, "drop must leave at least one column to train on"),
        ({"label": "id", "drop": ("kind",)}, "label=id: holds 5 different values in 5 rows .* too many to be classes"),
        ({"label": "a", "drop": ("kind",)}, "label=a: holds 1.5: a class is a text or a whole number"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_text(tmp_path, TABLE, **keys)


def test_label_is_numbered_in_its_order(tmp_path: Path):
    read = read_text(tmp_path, TABLE, label="kind", drop=("id",))
    assert read.labels is not None
    assert (read.labels.tolist(), read.class_names) == ([0, 1, 0, 1, 0], ("x", "y"))
    assert read.description == "5 rows × 2 columns (a, b) from x.csv; classes in kind: x (3), y (2)"
    whole = read_text(tmp_path, "a,k\n1,10\n2,2\n5,10\n4,2\n", label="k")
    assert whole.labels is not None
    assert (whole.labels.tolist(), whole.class_names) == ([1, 0, 1, 0], ("2", "10"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            ["x", "y", "x", "x"],
            r"holds text in column b \('x' \(3\), 'y' \(1\), the first in line 2\)\. dataset.drop=b leaves it out; "
            "dataset.label=b takes column b as the class of each row$",
        ),
        (["yes", "no", "no", "yes"], r"holds text in column b .*: 1 and 0 in their place are numbers\. "),
        (["u", "v", "w", "z"], r"holds text in column b \(.*'z' \(1\), the .*\)\. dataset.drop=b leaves it out$"),
        (
            ["2020-01-31", "2020-02-01", "2020-02-03", "2020-02-04"],
            r"holds dates in column b \('2020-01-31' in line 2\)",
        ),
        (["31.01.2020", "01.02.2020", "02.02.2020", "03.02.2020"], r"holds dates in column b"),
        (["12 %", "13 %", "14 %", "15 %"], r"holds percentages in column b \('12 %' in line 2\): write plain numbers"),
        (["€12", "€13", "€14", "€1.5"], r"holds numbers with a unit in column b \('€12' in line 2\)"),
        (
            ["12 %", "€13", "14 %", "15 %"],
            r"holds text in place of numbers in column b \('12 %' in line 2, and 3 more",
        ),
        (["1+2j", "2-1j", "1+0j", "0-1j"], r"holds complex numbers in column b \('1\+2j' in line 2\)"),
        (["1D10", "2D20", "1D10", "2D20"], r"holds text in column b \('1D10' \(2\), '2D20' \(2\)"),
        (
            ["1", "2", "oops", "3"],
            r"holds text in place of numbers in column b \('oops' in line 4\): write plain numbers",
        ),
        *(
            (
                ["1", "2", cell, "3"],
                rf"holds text that may stand for a missing value in column b \('{re.escape(cell)}' in line 4\): fill",
            )
            for cell in ("?", "*", "--", "n.d.", "#DIV/0!", "Missing")
        ),
        (
            ["inf", "2", "-inf", "3"],
            r"holds numbers that are not finite in column b \(inf in line 2, and 1 more like it\): remove such rows\. "
            r"dataset.drop=b leaves it out; to keep it without 2 of 4 rows: .*\.replace\({'b': \[float\('inf'\)",
        ),
        (
            ["1", "", "NA", "3"],
            r"has missing values \(empty, NA or NaN\) in column b \(2, the first in line 3\): .*without 2 of 4 rows: ",
        ),
        (["99999999999999999999999", "1", "2", "3"], r"holds whole numbers beyond 64 bits in column b"),
    ],
)
def test_column_without_numbers_is_named_with_the_cure(column: list[str], message: str, tmp_path: Path):
    content = "a,b,c\n" + "".join(f"{a},{b},{2 * a}\n" for a, b in zip([1.5, 2.5, 0.5, 9.5], column, strict=True))
    with pytest.raises(ValueError, match=rf"^path \S+ {message}"):
        read_text(tmp_path, content)
    assert read_text(tmp_path, content, drop=("b",)).column_names == ("a", "c")


def test_truth_values_are_one_and_zero(tmp_path: Path):
    assert read_text(tmp_path, "a,b\n1.5,TRUE\n2,False\n3,true\n5,FALSE\n").rows[:, 1].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "rownames"])
def test_row_index_is_left_out_with_a_word(first: int, name: str, tmp_path: Path):
    content = f"{name},a\n" + "".join(f"{i + first},{v}\n" for i, v in enumerate([5.1, 7.3, 6.2, 5.5]))
    read = read_text(tmp_path, content)
    assert read.column_names == ("a",)
    assert f"was left out: a row index, {first} … {first + 3}" in read.description
    assert read_text(tmp_path, content, drop=()).rows.shape == (4, 2)


@pytest.mark.parametrize("content", ["id,a\n0,5.1\n1,7.3\n2,6.2\n3,5.5\n", "1,5.1\n2,7.3\n3,6.2\n4,5.5\n"])
def test_column_that_counts_the_rows_is_refused(content: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"counts the rows, as an index does, in .*\. dataset.drop=(id|0) leaves"):
        read_text(tmp_path, content)
    assert read_text(tmp_path, content, drop=()).rows.shape == (4, 2)
    assert read_text(tmp_path, content, drop=(0,)).rows.shape == (4, 1)
    one = "x\n" + "".join(f"{i}\n" for i in range(9))
    assert read_text(tmp_path, one).rows.shape == (9, 1), "there is nothing else to train on"


def test_decimals_without_a_name_are_refused(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"has no name, .* column 0 \(counted from 0; 0.5 in line 2.*dataset.drop=0 leaves it"
    ):
        read_text(tmp_path, ",a\n0.5,5.1\n1.5,7.3\n2.5,6.2\n3.1,5.5\n")


@pytest.mark.parametrize(
    ("drop", "suggested"), [(("kind",), r"'dataset\.drop=\[kind,a\]'"), (("a",), r"'dataset\.drop=\[a,kind\]'")]
)
def test_suggested_drop_names_what_is_dropped_already(drop: tuple[str, ...], suggested: str, tmp_path: Path):
    """Typed as it is, the suggestion must not bring back the column that was left out before."""
    with pytest.raises(ValueError, match=suggested):
        read_text(tmp_path, "a,kind,b\n1.5,x,2.5\n,y,0.5\n3.5,z,1.5\n4.5,x,9.5\n", drop=drop)
