"""Problems of columns: all of them in one message, with keys and a line of pandas that cure them together."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.datasets.io.contents import Reading, column_list
from ebm_cli.datasets.io.row_files import read_rows
from tests.datasets.support import write

GERMAN = "tag;temp;druck;ort;farbe;id\n" + "".join(
    f"2020-01-{i + 1:02};{'?' if i == 3 else f'{i * 7 % 9},5'};{'' if i == 5 else f'9{i * 5 % 8},25'};"
    f"stadt{i};{'rot' if i % 2 else 'blau'};{i + 1}\n"
    for i in range(20)
)
"""Two columns of text, dates, a count of the rows, and two columns of numbers with a mark and a gap."""


def message(folder: Path, content: str, name: str = "x.csv", **keys: Any) -> str:
    with pytest.raises(ValueError, match=r"^path ") as caught:
        read_rows(write(folder, name, content), Reading(**keys))
    return str(caught.value)


def typed(said: str) -> Reading:
    """The keys of a message or a part of it, as Hydra reads them."""
    found = dict(re.findall(r"dataset\.(drop|label)=(\[.*?\]|\w+)", said))
    items = [int(item) if item.isdigit() else item for item in found["drop"].strip("[]").split(",")]
    return Reading(drop=tuple(items), label=found.get("label"))


def cleaned(said: str) -> tuple[str, Reading]:
    """The path of the file that the line of pandas writes, run as a shell would, and the keys behind it."""
    command, keys = re.search(r"rows: (python -c .*?) and (dataset\.path=.*?)(?:; or with .*)?$", said).groups()
    _, _, code = shlex.split(command)
    exec(code, {})
    path = re.search(r"dataset\.path=(\S+)", keys)[1]
    return path, typed(keys) if "drop" in keys else Reading()


def test_all_problems_are_said_at_once(tmp_path: Path):
    said = message(tmp_path, GERMAN)
    assert "has problems in 6 columns: (1) holds dates in column tag ('2020-01-01' in line 2): " in said
    assert "(2) holds text that may stand for a missing value in column temp ('?' in line 5): " in said
    assert "(3) has missing values (empty, NA or NaN) in column druck (1, in line 7): " in said
    assert "(4) holds text in column ort ('stadt0' (1), " in said
    assert "column farbe ('blau' (10), 'rot' (10), the first in line 2)" in said
    assert "(5) counts the rows, as an index does, in column id (1, 2, … 20): 'dataset.drop=[]' keeps it. " in said
    assert "dataset.label=farbe takes column farbe as the class of each row" in said
    assert "ort may be taken" not in said, "every row has another one"


def test_keys_of_the_message_cure_all_problems(tmp_path: Path):
    lines = GERMAN.splitlines()
    content = "\n".join([f"{lines[0]};gut", *(f"{line};{i % 7},5" for i, line in enumerate(lines[1:]))])
    said = message(tmp_path, f"{content}\n").partition("; to keep")[0].rpartition("'dataset.drop=[t")
    read = read_rows(str(tmp_path / "x.csv"), typed("".join(said[1:])))
    assert (read.column_names, read.class_names) == (("gut",), ("blau", "rot"))


def test_drop_names_only_columns_with_a_reason(tmp_path: Path):
    said = message(tmp_path, "a,b,c,d,e,f\n" + "".join(f"{i}.5,u{i},v{i},w{i},x{i},{i * i}\n" for i in range(8)))
    assert re.search(
        r"column b \(.*\), column c \(.*\), column d \(.*\), column e\. 'dataset\.drop=\[b,c,d,e\]' ", said
    )


@pytest.mark.parametrize(
    "content",
    [
        GERMAN,
        GERMAN.replace(";", "\t"),
        GERMAN.replace(";", "; "),
        "sep=;\n" + GERMAN,
        "# from a logger\n\n" + GERMAN.replace("\n2020-01-04", "\n# a break\n2020-01-04"),
        GERMAN.replace("id\n", "id\nd;K;hPa;-;-;-\n", 1),
        GERMAN.replace("\n", ";\n"),
        GERMAN.replace("\n", ";\n").replace("id;\n", "id\n"),
    ],
    ids=["semicolons", "tabs", "blanks", "sep", "comments", "units", "trailing", "trailing_rows"],
)
def test_line_of_pandas_writes_a_file_that_is_read(content: str, tmp_path: Path):
    path, keys = cleaned(message(tmp_path, content))
    read = read_rows(path, keys)
    assert (read.column_names, read.class_names) == (("temp", "druck"), ("blau", "rot"))
    rows = [i for i in range(20) if i not in (3, 5)]
    assert read.rows[:].tolist() == [[i * 7 % 9 + 0.5, 90 + i * 5 % 8 + 0.25] for i in rows]


def test_line_of_pandas_keeps_positions_without_names(tmp_path: Path):
    content = "".join(f"u{i},{'inf' if i == 2 else i * 3 % 7},{i}.5\n" for i in range(9))
    said = message(tmp_path, content, header=False)
    assert "column 0 (counted from 0; 'u0' (1), " in said
    path, keys = cleaned(said)
    assert keys == Reading(drop=(0,))
    assert read_rows(path, Reading(drop=(0,), header=False)).rows[:, 0].tolist() == [0, 3, 2, 5, 1, 4, 0, 3]


def test_column_with_many_gaps_is_left_out(tmp_path: Path):
    """Rows with a gap in it are most of the rows; the control has gaps in a few."""
    said = message(tmp_path, "a,b,c\n" + "".join(f"{i}.5,{i % 3 or ''},{i if i % 3 == 0 else ''}\n" for i in range(9)))
    path, keys = cleaned(said)
    assert "to keep column b without 3 of 9 rows" in said
    assert keys == Reading(drop=("c",))
    assert read_rows(path, keys).rows.shape == (6, 2)


def test_fault_of_the_label_is_said_with_the_others(tmp_path: Path):
    said = message(tmp_path, "a,b,k\n1.5,,u\n2.5,3,\n3.5,1,v\n0.5,2,u\n1.5,6,v\n", label="k")
    assert re.search(
        r"\(1\) has missing values .*\(2\) has rows without a class in column k \(1 of 5, .* line 3\)", said
    )


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        ([1], ["a", "b c"], "column 'b c'"),
        ([0, 1, 2], ["a", "2", "c"], "columns a, 2 and c"),
        ([2], None, "column 2 (counted from 0)"),
        ([0, 3], None, "columns 0 and 3 (counted from 0)"),
    ],
)
def test_columns_are_named_or_counted_from_0(columns: list[int], names: list[str] | None, words: str):
    assert column_list(columns, names) == words


def test_line_of_pandas_copies_other_columns_as_they_are(tmp_path: Path):
    """A date with points would be a number to pandas where points separate thousands."""
    content = "tag;umsatz;temp\n" + "".join(f"0{i}.01.2023;2.88{i},5;{'' if i == 4 else i},5\n" for i in range(1, 10))
    path, _ = cleaned(message(tmp_path, content.replace(";,5", ";"), delimiter=";", decimal=",", thousands="."))
    assert Path(path).read_text(encoding="utf-8").splitlines()[1] == "01.01.2023;2881,5;1,5"


def test_two_marks_of_thousands_are_shown(tmp_path: Path):
    content = "a;b\n" + "4'511.5;3 012\n1'144.5;6 120\n" * 20
    assert "in two ways, '3 012' and \"4'511.5\": write them alike" in message(tmp_path, content)


def test_rows_without_any_value_are_said_and_counted(tmp_path: Path):
    content = "a,b\n1.5,2\n,\n2.5,3\nNA,NA\n3.5,\n"
    assert "in column b (1, in line 6)" in message(tmp_path, content)
    rows = read_rows(write(tmp_path, "y.csv", content.replace("3.5,", "3.5,4")), Reading())
    assert rows.description.endswith("; 2 rows without any value were left out")
