"""Tables in text: a fault is named by its line and column."""

from pathlib import Path

import pytest

from tests.datasets.support import assert_refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it has no row of numbers"),
        ("\n\n", "is empty: it has no row of numbers"),
        ("a,b\n", "is empty: it has no row of numbers"),
        ("1,2\n3,oops\n", r"holds text in place of numbers in column 1 \(counted from 0; 'oops' in line 2\): write"),
        ("1,2\n3,4_0\n", r"holds text in place of numbers in column 1 .*'4_0' in line 2\): "),
        ("a,1.5\n3,4.5\n", r"may have names or numbers in line 1: a, 1.5 \(text above numbers\)"),
        (
            "a,b\n\n1,2\n3,oops\n",
            r"holds text in place of numbers in column b \('oops' in line 4\): .* dataset.drop=b leaves it out",
        ),
        (
            "a,b\n1,2\n3,\n",
            r"has missing values \(empty, NA or NaN\) in column b \(1, in line 3\): fill",
        ),
        ("a,b\n1,2\n\nnan,4\n5,6\n7,8\n", r"has missing values .* in column a \(1, in line 4\)"),
        ("1.5,2\n\n3,1e99\n5,6\n7,8\n", r"holds numbers beyond float32 .* in column 1 .*1e\+99 in line 3\): divide"),
        ("1,2.5\n3,4,5\n6,7\n", "has 3 columns in line 2, expected 2"),
        ("a,b,c\n1,2\n", r"has 3 names in line 1 \(a, b, c\) above 2 columns in line 2"),
        ("1;2\n3;4;5\n6;7\n", "has 3 columns in line 2, expected 2"),
        ("__import__('os').abort(),2.5\n1,2.5\n", r"may have names or numbers in line 1: __import__"),
        (b"\xff\xfe\x00", "cannot be read as utf-16"),
        (b"1,2\n3,\x004\n5,6\n", "is not a text file: it holds the byte 0"),
        (
            "time,x\n" + "".join(f"17000000{i:02},{i}\n" for i in range(40)),
            r"has problems in 2 columns: \(1\) holds numbers that float32 rounds too coarsely in column time "
            r"\(from 1700000000 to 1700000039\): .*\(2\) counts the rows, as an index does, in column x \(0, 1, … 39\)",
        ),
    ],
)
def test_read_text_names_the_faulty_line_and_column(content: object, message: str, tmp_path: Path):
    assert_refused(tmp_path, "x.csv", content, message)
