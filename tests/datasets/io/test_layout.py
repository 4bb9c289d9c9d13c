"""Layouts of tables in text, as people write them: found where they are clear, else refused with both readings."""

from pathlib import Path
from typing import Any

import pytest

from tests.datasets.support import read_text

TABLE = [[1.5, 2.0], [2.5, 3.0], [1234.5, 2.0], [-1.0, 5.0]]
"""Numbers of every file here."""


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1.5,2\n2.5,3\n1234.5,2\n-1.0,5\n",
        "a;b\n1,5;2\n2,5;3\n1234,5;2\n-1,0;5\n",
        "a;b\n1,5;2\n2,5;3\n1.234,5;2\n-1,0;5\n",
        "a;b\n1,5;2\n2,5;3\n1 234,5;2\n-1,0;5\n",
        "a;b\n1,5;2\n2,5;3\n1\u00a0234,5;2\n-1,0;5\n",
        "a;b\n1.5;2\n2.5;3\n1'234.5;2\n-1.0;5\n",
        'a,b\n1.5,2\n2.5,3\n"1,234.5",2\n-1.0,5\n',
        '"a","b"\n"1,5","2"\n"2,5","3"\n"1234,5","2"\n"-1,0","5"\n',
        "a\tb\n1,5\t2\n2,5\t3\n1234,5\t2\n-1,0\t5\n",
        "a|b\n1.5|2\n2.5|3\n1234.5|2\n-1.0|5\n",
        "a b\n1.5 2\n2.5 3\n1234.5 2\n-1.0 5\n",
        "a b\n1,5 2\n2,5 3\n1234,5 2\n-1,0 5\n",
        "    a   b\n  1.5   2\n  2.5   3\n1234.5\t2  \n -1.0   5\n",
        "# made by hand\n# a b\n1.5 2\n2.5 3\n1.2345e3 2\n-1.0 5\n",
        "a b\n 1.5D+00 2.0D+00\n 0.25D+01 3.D0\n 1.2345D+03 .2d1\n-1.0D+00 5.0D-0\n",
        "a;b\n1,5D+00;2\n2,5D+00;3\n1,2345D+03;2\n-1,0D+00;5\n",
        "a, b\r\n1.5, 2\r\n2.5, 3\r\n1234.5, 2\r\n-1.0, 5\r\n",
        "a,b\r1.5,2\r2.5,3\r1234.5,2\r-1.0,5\r",
        "\n\na,b\n\n1.5,2\n2.5,3\n# a comment\n1234.5,2\n\n-1.0,5\n\n",
        "a;b;\n1,5;2;\n2,5;3;\n1234,5;2;\n-1,0;5;\n",
        "a;b\n1,5;2\n2,5;3\n1234,5;2\n-1,0;5\n;\n;\n",
        "sep=;\na;b\n1,5;2\n2,5;3\n1234,5;2\n-1,0;5\n",
        "a;b\nm;kg\n1,5;2\n2,5;3\n1234,5;2\n-1,0;5\n",
        ",a,b\n0,1.5,2\n1,2.5,3\n2,1234.5,2\n3,-1.0,5\n",
        ",a,b\nx,1.5,2\ny,2.5,3\nz,1234.5,2\nw,-1.0,5\n",
        '"","a","b"\n"1",1.5,2\n"2",2.5,3\n"3",1234.5,2\n"4",-1.0,5\n',
        '"a" "b"\n"1" 1.5 2\n"2" 2.5 3\n"3" 1234.5 2\n"4" -1.0 5\n',
    ],
)
def test_table_is_read_however_it_is_written(content: str, tmp_path: Path):
    read = read_text(tmp_path, content)
    assert read.rows[:].tolist() == TABLE
    assert read.column_names == ("a", "b")
    assert read.description.startswith("4 rows × 2 columns (a, b) from x.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_table_is_read_in_any_encoding(encoding: str, tmp_path: Path):
    read = read_text(tmp_path, "größe;b\n1,5;2\n2,5;3\n1234,5;2\n-1,0;5\n".encode(encoding))
    assert (read.column_names, read.rows[:].tolist()) == (("größe", "b"), TABLE)


COMMAS = "1,5\n2,7\n3,1\n2,2\n"
GERMAN = "a;b\n1.234;2\n1.500;3\n4.200;2\n3.300;1\n"
QUOTED = 'a,b\n"1,234",2\n"1,500",3\n"14,200",2\n"3,300",1\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (COMMAS, r"2 columns \(1 \| 5\), or 1 column \(1.5\). dataset.delimiter=comma chooses .*dataset.decimal=comma"),
        (GERMAN, r"'1.234' is 1.234, or '1.234' is 1234. dataset.decimal=point chooses .*dataset.thousands=point"),
        (QUOTED, r"'1,234' is 1.234, or '1,234' is 1234. dataset.decimal=comma chooses .*dataset.thousands=comma"),
        (GERMAN.replace(".", ",").replace(";", "\t"), r"'1,234' is 1.234, or '1,234' is 1234. dataset.decimal=comma"),
        (
            "1 234\n5 678\n9 012\n3 456\n",
            r"1 column \(1234\), or 2 columns \(1 \| 234\). dataset.thousands=blank",
        ),
    ],
)
def test_ambiguous_table_is_refused_with_both_readings(content: str, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"^path \S+ can be read in two ways: {message}"):
        read_text(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "said", "n_columns"),
    [
        ("a;b;x\n0.3;-1.2\t0.5\n0.1;-1.0\t0.7\n", "semicolons in '0.3;-1.2' and tabs", 1),
        ("a,b,x\n0.3,-1.2 0.5\n0.1,-1.0 0.7\n", "commas in '0.3,-1.2' and blanks", 1),
        ("a|b|x\n0.3|-1.2;0.5\n0.1|-1.0;0.7\n", r"bars in '0.3\|-1.2' and semicolons", 1),
        ("a\tb\tx\n0.3\t-1.2;0.5\n0.1\t-1.0;0.7\n", r"tabs in '0.3\\t-1.2' and semicolons", 1),
        ("x\ty\n1;2\t3\t0.5\n2;4\t3\t0.7\n", "semicolons in '1;2' and tabs", 2),
        ("\tx\n1;2\t0.5\n2;4\t0.7\n", "semicolons in '1;2' and tabs", 1),
        ("a;b\n3\t0.5\n7\t0.7\n", "semicolons in 'a;b' and tabs", 1),
        ("id;a;x\nA;3\t0.5\nB;7\t0.7\n", "semicolons in 'id;a;x' and tabs", 1),
    ],
)
def test_numbers_between_other_delimiters_are_no_row_names(content: str, said: str, n_columns: int, tmp_path: Path):
    chosen = said.split()[-1].removesuffix("s")
    with pytest.raises(ValueError, match=rf"has two delimiters, {said}: .* dataset\.delimiter={chosen} takes '"):
        read_text(tmp_path, content)
    if content[0] != "\t":
        assert read_text(tmp_path, content, delimiter=chosen).rows[:].shape == (2, n_columns)


@pytest.mark.parametrize("names", ["New York\tSt. Louis", "2024-01-01\t2024-01-02", "A;1\tB;2"])
def test_row_names_with_other_marks_stay_names(names: str, tmp_path: Path):
    one, two = names.split("\t")
    read = read_text(tmp_path, f'"size, cm"\tx\n{one}\t0.5\t1.5\n{two}\t0.75\t2.5\n')
    assert (read.column_names, read.rows[:].tolist()) == (("size, cm", "x"), [[0.5, 1.5], [0.75, 2.5]])


@pytest.mark.parametrize(
    ("content", "keys", "first"),
    [
        (COMMAS, {"decimal": "comma"}, [1.5]),
        (COMMAS, {"decimal": ","}, [1.5]),
        (COMMAS, {"delimiter": "comma"}, [1.0, 5.0]),
        (COMMAS, {"delimiter": ","}, [1.0, 5.0]),
        (COMMAS, {"decimal": "point"}, [1.0, 5.0]),
        ("v\n" + COMMAS, {}, [1.5]),
        ("x,y\n" + COMMAS, {}, [1.0, 5.0]),
        (COMMAS + "1,-1\n", {}, [1.0, 5.0]),
        (COMMAS + "1.5,1\n", {}, [1.0, 5.0]),
        (GERMAN, {"decimal": "point"}, [1.234, 2.0]),
        (GERMAN, {"thousands": "point"}, [1234.0, 2.0]),
        (GERMAN, {"decimal": "comma"}, [1234.0, 2.0]),
        (QUOTED, {"thousands": "comma"}, [1234.0, 2.0]),
        (QUOTED, {"decimal": "comma"}, [1.234, 2.0]),
        ("1:5\n2:7\n3:1\n2:2\n", {"delimiter": ":"}, [1.0, 5.0]),
    ],
)
def test_key_or_a_further_line_chooses_the_reading(
    content: str, keys: dict[str, Any], first: list[float], tmp_path: Path
):
    row = read_text(tmp_path, content, **keys).rows[:][0].tolist()
    assert row == pytest.approx(first)
    assert len(row) == len(first)


def test_format_of_numbers_holds_for_every_line(tmp_path: Path):
    """Beyond the lines that the layout was found in; pandas alone would read 1.5 as 15 there."""
    lines = ["a;b"] + ["1.234,5;2"] * 1200
    with pytest.raises(ValueError, match=r"holds text in place of numbers in column a \('1.5' in line 1202\): write"):
        read_text(tmp_path, "\n".join([*lines, "1.5;2"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n4,1\n5,2\n", "has 1 column in line 3, expected 2$"),
        ("a,b\n1,2\n3,4,5\n4,1\n5,2\n", "has 3 columns in line 3, expected 2$"),
        ("Report\n\na;b\n1,5;2\n2,5;3\n1,1;2\n", r"has 1 name in line 1 \(Report\) above 2 columns in line 3: remove"),
        ('a,b\n1,2\n3,"4\n4,1\n5,2\n', "has 2 columns|cannot be read as a table: a quote is not closed|holds text"),
    ],
)
def test_ragged_table_is_refused_by_its_line(content: str, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"^path \S+ ({message})"):
        read_text(tmp_path, content)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"delimiter": "commas"}, "delimiter must be one character or one of comma, point, blank, .*, got 'commas'"),
        ({"decimal": "semicolon"}, "decimal must be point or comma, got 'semicolon'"),
    ],
)
def test_wrong_key_of_a_layout_is_refused(keys: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_text(tmp_path, COMMAS, **keys)


def test_numbers_are_read_exactly(tmp_path: Path):
    values = ["0.1", "1e-7", "123456.789", "3.14159265358979", "2.5e10", "-0.30000000000000004"]
    read = read_text(tmp_path, "x\n" + "\n".join(values))
    assert read.rows[:, 0].tolist() == pytest.approx([float(v) for v in values], rel=6e-8)


def test_row_names_that_may_be_thousands_are_refused(tmp_path: Path):
    text = "a,b\n1,200,3\n2,300,4\n3,400,5\n12,500,7\n"
    with pytest.raises(
        ValueError, match=r"1 may be the name of the row, or 1,200 one number\. dataset\.delimiter=comma "
    ):
        read_text(tmp_path, text)
    assert read_text(tmp_path, text, delimiter="comma").column_names == ("a", "b")
    control = read_text(tmp_path, "a,b\n1,20.5,3\n2,300,4\n3,4,5\n12,500,7\n")
    assert (control.column_names, control.rows.shape) == (("a", "b"), (4, 2))
