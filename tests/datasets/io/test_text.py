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
        ("1,2\n3,oops\n", "holds text 'oops' in line 2, column 1: write it as a plain number"),
        ("1,2\n3,4_0\n", "holds text '4_0' in line 2, column 1: "),
        ("a,1.5\n3,4.5\n", r"may have names or numbers in line 1: a, 1.5 \(text above numbers\)"),
        (
            "a,b\n\n1,2\n3,oops\n",
            r"holds text 'oops' in line 4, column 1 \(b\): .* leave the column out with dataset.drop=b$",
        ),
        (
            "a,b\n1,2\n3,\n",
            r"has missing values \(empty, NA or NaN\): 1 in column 1 \(b\), the first in line 3\. Fill",
        ),
        ("a,b\n1,2\n\nnan,4\n5,6\n7,8\n", r"has missing values .*: 1 in column 0 \(a\), the first in line 4\."),
        ("1.5,2\n\n3,1e99\n5,6\n7,8\n", r"holds 1e\+99 in line 3, column 1, beyond float32 "),
        ("1,2.5\n3,4,5\n6,7\n", "has 3 columns in line 2, expected 2"),
        ("a,b,c\n1,2\n", r"has 3 names in line 1 \(a, b, c\) above 2 columns in line 2"),
        ("1;2\n3;4;5\n6;7\n", "has 3 columns in line 2, expected 2"),
        ("__import__('os').abort(),2.5\n1,2.5\n", r"may have names or numbers in line 1: __import__"),
        (b"\xff\xfe\x00", "cannot be read as utf-16"),
        (b"1,2\n3,\x004\n5,6\n", "is not a text file: it holds the byte 0"),
        (
            "time,x\n" + "".join(f"17000000{i:02},{i}\n" for i in range(40)),
            r"holds numbers from 1700000000 to 1700000039 in column 0 \(time\), which float32 rounds too coarsely",
        ),
    ],
)
def test_read_text_names_the_faulty_line_and_column(content: object, message: str, tmp_path: Path):
    assert_refused(tmp_path, "x.csv", content, message)
