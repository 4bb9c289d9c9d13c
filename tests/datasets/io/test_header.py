"""First lines: names, numbers, or either."""

from pathlib import Path

import pytest

from tests.datasets.support import read_text

BELOW = "5.2,6.1\n7.3,8.4\n9.9,10.2\n6.1,9.3\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("0,1\n" + BELOW, "0, 1 (0 to 1, as pandas names the columns of an array)"),
        ("0;1;2\n3;1;2\n4;1;1\n5;3;1\n7;0;1\n", "0, 1, 2 (0 to 2, as"),
        ("2019,2020\n" + BELOW, "2019, 2020 (whole numbers above decimals)"),
        ("2019;2020;2021\n5;6;1\n7;8;4\n9;9;2\n1;9;3\n", "2019, 2020, 2021 (rising, and far from the numbers below)"),
        ("1,2,3\n5.5,6,1\n7.25,8,2\n9,10,1\n6,9,4\n", "1, 2, 3 (1 to 3 above decimals, as columns are counted)"),
        ("400.5,401.0\n" + BELOW, "400.5, 401.0 (rising, and far"),
        ("0\n5.2\n7.3\n1.5\n2.5\n", "0 (whole numbers above decimals)"),
        ("id,2020\n" + BELOW, "id, 2020 (text above numbers)"),
        ("land,2019,2020\nDE,0.5,0.6\nFR,0.5,0.2\nDE,0.1,0.2\nDE,0.2,0.3\n", "land, 2019, 2020 (whole numbers above"),
    ],
)
def test_line_that_may_be_names_or_numbers_is_refused(content: str, reason: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"may have names or numbers in line 1: ") as caught:
        read_text(tmp_path, content)
    assert reason in str(caught.value)
    assert "dataset.header=true reads it as names, dataset.header=false as the first row" in str(caught.value)


def test_key_says_what_the_first_line_is(tmp_path: Path):
    names, numbers = (read_text(tmp_path, "0,1\n" + BELOW, header=header) for header in (True, False))
    assert (names.column_names, names.rows.shape) == (("0", "1"), (4, 2))
    assert (numbers.column_names, numbers.rows.shape) == (None, (5, 2))
    assert read_text(tmp_path, "0,1\n" + BELOW, header="text").rows.shape == (5, 2)


@pytest.mark.parametrize(
    "content",
    [
        "1.5,2.5\n" + BELOW,
        "1,2,3\n4,5,6\n7,8,9\n2,2,2\n",
        "0,1\n1,0.5\n0,1\n1,1\n",
        "7,8.4\n" + BELOW,
    ],
)
def test_control_line_of_numbers_is_a_row(content: str, tmp_path: Path):
    assert len(read_text(tmp_path, content).rows) == content.count("\n")


def test_names_are_made_different(tmp_path: Path):
    read = read_text(tmp_path, "a,a,,a\n1,2,3,5\n3,4,5,6\n4,1,5,1\n5,2,2,3\n")
    assert read.column_names == ("a", "a.1", "column 2", "a.2")
