"""Commands of refusals: each of them runs as it is printed, and its copy is read with the keys behind it."""

import datetime
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ebm_cli.datasets.io.contents import Reading
from ebm_cli.datasets.io.row_files import read_rows
from tests.datasets.support import cured, pasted, read_text, refusal, write

N = 24
A, B = np.random.default_rng(0).normal(size=(2, N)).round(3)
K = np.array(["NA", "u", "v"])[np.arange(N) % 3]
FRAME = pd.DataFrame({"a": A, "b": B, "k": K})


def stored(folder: Path, name: str, frame: pd.DataFrame, **keys: Any) -> str:
    """A table in the format that its suffix names; its path."""
    path = folder / name
    if path.suffix == ".xlsx":
        pytest.importorskip("openpyxl")
        frame.to_excel(path, **keys)
    elif path.suffix == ".csv":
        frame.to_csv(path, **keys)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path, **keys) if path.suffix == ".parquet" else frame.to_feather(path)
    return str(path)


def with_values(column: str, values: dict[int, Any]) -> pd.DataFrame:
    """The table with other values in some rows of a column."""
    frame = FRAME.astype({column: object})
    for i, value in values.items():
        frame.loc[i, column] = value
    return frame


def without(*rows: int) -> list[list[float]]:
    """The rows of the table but these, in float32."""
    kept = [i for i in range(N) if i not in rows]
    return torch.from_numpy(np.stack([A, B], axis=1)[kept]).float().tolist()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("x.csv", {"index": False}),
        ("x.csv", {"index": False, "sep": ";", "decimal": ","}),
        ("x.csv", {"index": False, "compression": "gzip"}),
        ("x.xlsx", {"index": False}),
        ("x.xlsx", {"index": False, "startrow": 2, "startcol": 1}),
        ("x.parquet", {}),
        ("x.feather", {}),
    ],
)
def test_command_cures_marks_infinities_and_codes(name: str, keys: dict[str, Any], tmp_path: Path):
    """A mark, an infinity and a code for missing numbers are said at once, and are gone at once."""
    frame = with_values("a", {3: "?", 5: "inf"} if name != "x.parquet" else {5: np.inf})
    frame["a"] = frame["a"].astype(float if name == "x.parquet" else str)
    frame["b"] = np.where(np.arange(N) % 6 == 0, -999.0, B)
    said = refusal(stored(tmp_path, name, frame, **keys), label="k", missing_class=True)
    assert "holds a number that may stand for a missing value in column b (-999 in 4 rows)" in said
    read = cured(said)
    assert read.rows[:].tolist() == without(*range(0, N, 6), *([5] if name == "x.parquet" else [3, 5]))
    # pandas writes an empty cell for NA of a text.
    assert read.class_names == ("u", "v", "missing" if name == "x.csv" else "NA")


def test_lists_of_a_parquet_stay_in_the_copy(tmp_path: Path):
    frame = pd.DataFrame({"a": A, "l": [list(range(i, i + 30)) for i in range(N)], "s": [{"u": 1}] * N})
    frame.loc[4, "a"] = np.inf
    said = refusal(stored(tmp_path, "x.parquet", frame))
    assert "holds lists in column l ('[ 0  1  2" in said
    assert cured(said).rows[:].tolist() == [[a] for i, a in enumerate(A.astype(np.float32).tolist()) if i != 4]


@pytest.mark.parametrize("name", ["x.csv", "x.xlsx", "x.parquet"])
def test_names_that_are_numbers_need_a_header(name: str, tmp_path: Path):
    frame = pd.DataFrame({2020: A, 2021: B})
    frame.loc[2, 2021] = np.nan
    keys = {} if name == "x.parquet" else {"index": False}
    said = refusal(stored(tmp_path, name, frame, **keys), **({} if name == "x.parquet" else {"header": True}))
    assert "dataset.header=true" in said
    assert (cured(said).column_names, cured(said).rows[:].tolist()) == (("2020", "2021"), without(2))


def test_keys_of_the_user_are_printed_again(tmp_path: Path):
    content = "".join(f"u{i};{a};{b if i else '?'}\n" for i, (a, b) in enumerate(zip(A, B, strict=True)))
    said = refusal(write(tmp_path, "x.csv", content), drop=(0,), header=False, delimiter="semicolon")
    found = said.rpartition(" and ")[2]
    assert pasted(found) | {"path": ""} == {"path": "", "delimiter": "semicolon", "header": False, "drop": 0}
    assert cured(said).rows[:].tolist() == without(0)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "y.npz", "x.pt", "y.pt"])
def test_command_removes_rows_of_arrays(name: str, tmp_path: Path):
    x = np.stack([A, B], axis=1)
    x[3, 1], x[::6, 0], y = np.nan, -999, np.arange(N) % 2
    arrays: dict[str, Any] = {"X": x, "y": y} if name[0] == "y" else {"x": x}
    content: Any = x if name == "x.npy" else arrays
    if name.endswith(".pt"):
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        content = tensors if name == "y.pt" else tensors["x"]
    read = cured(refusal(write(tmp_path, name, content), label="y" if name[0] == "y" else None))
    gone = (3, *range(0, N, 6))
    assert read.rows[:].tolist() == without(*gone)
    assert name[0] == "x" or (read.labels is not None and read.labels.tolist() == np.delete(y, gone).tolist())


@pytest.mark.parametrize("name", ["x.csv", "x.xlsx"])
def test_a_doubtful_header_is_said_with_all_other_problems(name: str, tmp_path: Path):
    """One message, whose command and keys read the file; alone, the doubt is said alone."""
    frame = pd.DataFrame({2020: A, 2021: B, "k": K})
    frame.loc[2, 2021] = np.nan
    said = refusal(stored(tmp_path, name, frame, index=False), label="k", missing_class=True)
    doubt = "dataset.header=true reads it as names, dataset.header=false as the first row"
    assert f"{doubt}. With names, it also has missing values (empty, NA or NaN) in column 2021 (1, in " in said
    read = cured(said)
    assert (read.column_names, read.rows[:].tolist()) == (("2020", "2021"), without(2))
    alone = refusal(stored(tmp_path, name, frame.drop(index=2), index=False), label="k", missing_class=True)
    assert alone.endswith(doubt)


def test_a_line_of_another_width_is_said_with_the_header(tmp_path: Path):
    said = refusal(write(tmp_path, "x.csv", "2020,2021\n1.5,2.5\n3.5,1.5,3\n2.25,4.75\n7.5,1.25\n"))
    assert said.endswith("as the first row. With names, it also has 3 columns in line 3, expected 2")


@pytest.mark.parametrize(
    ("texts", "fact", "seconds"),
    [
        (lambda i: f"{i}:30", "times", lambda i: 3600 * i + 1800),
        (lambda i: f"0{i % 3}:02:{i:02}.5", "durations or times of day", lambda i: 3600 * (i % 3) + 120 + i + 0.5),
        (lambda i: f"{i} days 00:00:01", "durations or times of day", lambda i: 86_400 * i + 1),
        (lambda i: f"{i % 12 + 1}:05 PM", "times of day", lambda i: 300 + 3600 * (12 + (i % 12 + 1) % 12)),
    ],
)
def test_times_are_cured_with_seconds(texts: Any, fact: str, seconds: Any, tmp_path: Path):
    said = refusal(stored(tmp_path, "x.csv", pd.DataFrame({"a": A, "t": [*map(texts, range(N))]}), index=False))
    assert f"holds {fact} in column t" in said
    assert cured(said).rows[:, 1].tolist() == [seconds(i) for i in range(N)]


@pytest.mark.parametrize("kind", [datetime.timedelta, datetime.time])
def test_times_of_a_parquet_are_cured_with_seconds(kind: type, tmp_path: Path):
    values = [datetime.timedelta(minutes=i) if kind is datetime.timedelta else datetime.time(0, i) for i in range(N)]
    said = refusal(stored(tmp_path, "x.parquet", pd.DataFrame({"a": A, "t": values})))
    assert cured(said).rows[:, 1].tolist() == [60 * i for i in range(N)]


def test_two_decimal_marks_are_said_and_cured(tmp_path: Path):
    """Within a column, and a column that differs from the others."""
    lines = [f"{a};{b}".replace(".", ",", 2 if i % 3 else 1) for i, (a, b) in enumerate(zip(A, B, strict=True))]
    said = refusal(write(tmp_path, "x.csv", "a;b\n" + "\n".join(lines)))
    assert "holds decimal commas and decimal points in column b ('" in said
    assert ": write commas only. " in said
    assert cured(said).rows[:].tolist() == without()
    halves = [f"{a};{b}".replace(".", ",", 1) for a, b in zip(A, B, strict=True)]
    said = refusal(write(tmp_path, "y.csv", "a;b\n" + "\n".join(halves)))
    assert "holds decimal commas, not points as the file does, in column a" in said
    assert cured(said).rows[:].tolist() == without()


def test_decimals_like_thousands_are_doubted_beside_decimals(tmp_path: Path):
    """Alone in a file of decimal commas, 5.001 is 5001: nothing tells that it is not (the control)."""
    commas = [f"{a:.3f}".replace(".", ",") for a in A]
    lines = [f"{a};{a};{b:.2f};{5 + i}.001" for i, (a, b) in enumerate(zip(commas, B, strict=True))]
    said = refusal(write(tmp_path, "x.csv", "a;b;c;d\n" + "\n".join(lines)))
    assert "holds decimal points, not commas as the file does, in column c" in said
    fact = "may hold decimal points, which are read as marks between thousands, in column d"
    assert f"{fact} ('5.001' in line 2 is read as 5001): write commas, or no points" in said
    torch.testing.assert_close(cured(said).rows[:][:, 3], torch.arange(5.0, 5 + N) + 0.001)
    read = read_text(tmp_path, "a;d\n" + "\n".join(f"{a};{5 + i}.001" for i, a in enumerate(commas)))
    assert read.rows[:][0, 1] == 5001
    assert "decimal commas and a point between thousands" in read.description


def test_blanks_behind_names_are_none_of_theirs(tmp_path: Path):
    lines = [f"{a} , {b} , {k}" for a, b, k in zip(A, ["?", *B[1:]], K, strict=True)]
    said = refusal(write(tmp_path, "x.csv", "a , b , k \n" + "\n".join(lines)), label="k", missing_class=True)
    assert cured(said).rows[:].tolist() == without(0)


def test_class_called_na_is_kept_by_a_key(tmp_path: Path):
    content = FRAME.assign(k=[["NA", "None", "", "u", "v"][i % 5] for i in range(N)]).to_csv(index=False)
    said = refusal(write(tmp_path, "x.csv", content), label="k")
    assert "has rows without a class in column k (15 of 24, 'NA' in line 2). dataset.missing_class=true takes" in said
    read = read_text(tmp_path, content, label="k", missing_class=True)
    assert read.class_names == ("u", "v", "NA", "None", "missing")
    assert read.labels is not None
    assert read.labels.tolist() == [[2, 3, 4, 0, 1][i % 5] for i in range(N)]


def test_rows_without_a_class_are_removed_by_the_command(tmp_path: Path):
    frame = with_values("a", {1: "?"})
    read = cured(refusal(stored(tmp_path, "x.csv", frame, index=False), label="k"))
    assert (read.class_names, read.rows[:].tolist()) == (("u", "v"), without(1, *range(0, N, 3)))


def test_code_in_most_rows_is_not_removed(tmp_path: Path):
    """It is said, and the rows with the mark alone are removed; so it is with a label that most rows lack."""
    frame = with_values("a", {1: "?"}).assign(b=np.where(np.arange(N) % 3 > 0, -999, 1e-3 * np.arange(N)), k=K)
    frame.loc[frame["k"] != "u", "k"] = None
    frame.loc[:3, "k"] = "v"
    said = refusal(stored(tmp_path, "x.csv", frame, index=False), label="k")
    assert "column b (-999 in 16 rows)" in said
    assert len(cured(said).rows) == N - 1
    assert cured(said).class_names == ("u", "v", "missing")


def test_class_that_is_suggested_keeps_its_gaps(tmp_path: Path):
    """The keys of the message as they are printed read the file."""
    path = stored(tmp_path, "x.csv", FRAME, index=False)
    said = refusal(path)
    assert "column k ('u' (8), 'v' (8), the first in line 3, 8 missing (empty, NA or None))" in said
    assert "dataset.label=k dataset.missing_class=true takes column k as the class of each row" in said
    assert read_rows(path, Reading(label="k", missing_class=True)).class_names == ("u", "v", "NA")


def test_numbers_without_a_class_are_one(tmp_path: Path):
    y = np.where(np.arange(N) % 4 == 0, np.nan, np.arange(N) % 2)
    path = write(tmp_path, "x.npz", {"x": np.stack([A, B], axis=1), "y": y})
    with pytest.raises(ValueError, match=r"label=y: 6 of 24 rows have no class: .* set dataset.missing_class=true"):
        read_rows(path, Reading(label="y"))
    assert read_rows(path, Reading(label="y", missing_class=True)).class_names == ("0", "1", "missing")


def test_names_that_occur_twice_are_said(tmp_path: Path):
    content = "x,y,x\n" + "".join(f"{a},{b},{a * b}\n" for a, b in zip(A, B, strict=True))
    read = read_text(tmp_path, content)
    assert read.column_names == ("x", "y", "x.1")
    assert read.description.endswith("; columns of one name are told apart by a number: x.1")


DAYS = pd.to_datetime("2020-02-27") + pd.to_timedelta(np.arange(N) * 9 // 2, unit="D")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.xlsx"])
@pytest.mark.parametrize("written", [None, "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%y", "%d/%m/%Y", "%Y-%m-%dT%H:%M:%S"])
def test_dates_are_cured_with_days_or_their_parts(name: str, written: str | None, tmp_path: Path):
    dates = list(DAYS) if written is None else list(DAYS.strftime(written))
    frame = pd.DataFrame({"a": A, "d": dates})
    said = refusal(stored(tmp_path, name, frame, **({} if name == "x.parquet" else {"index": False})))
    assert "holds dates in column d" in said
    assert cured(said).rows[:, 1].tolist() == [(day - DAYS[0]).days for day in DAYS]
    read = cured(said, 1)
    assert read.column_names == ("a", "d_year", "d_month", "d_day")
    assert read.rows[:, 1:].tolist() == [[day.year, day.month, day.day] for day in DAYS]


@pytest.mark.parametrize(("mark", "first"), [("/", "2020-03-01"), (".", "2020-01-03")])
def test_doubtful_order_of_day_and_month_is_said(mark: str, first: str, tmp_path: Path):
    """By their mark: 3/1 is of March in America, 3.1 of January in Europe; the message says what to change."""
    frame = pd.DataFrame({"a": A, "d": [f"{i % 4 + 3}{mark}{i % 3 + 1}{mark}2020" for i in range(N)]})
    said = refusal(stored(tmp_path, "x.csv", frame, index=False))
    read, other = ("%d.%m.%Y", "%m.%d.%Y") if mark == "." else ("%m/%d/%Y", "%d/%m/%Y")
    assert f"; format='{other}' instead of '{read}' reads " in said
    assert cured(said, 1).rows[0, 1:].tolist() == [*map(float, first.split("-"))]
    assert cured(said.replace(f"format='{read}'", f"format='{other}'"), 1).rows[0, 2:].tolist() == [
        *map(float, first.split("-")[:0:-1])
    ]


def test_dates_that_count_the_rows_are_cured_with_parts(tmp_path: Path):
    """Days since the first one are refused as an index, and so are the days of one month."""
    for start, has_parts in (("2020-01-20", True), ("2020-01-01", False)):
        days = pd.date_range(start, periods=N)
        frame = pd.DataFrame({"a": A, "d": days.strftime("%Y-%m-%d")})
        said = refusal(stored(tmp_path, "x.csv", frame, index=False))
        assert "in line 2): days since the first one would count the rows, as an index does. dataset.drop=d" in said
        assert ("python" in said) == has_parts
        if has_parts:
            assert cured(said).rows[:, 1:].tolist() == [[2020, day.month, day.day] for day in days]
    counts = pd.DataFrame({"a": A, "p": [f"${i}" for i in range(N)]})
    assert "python" not in refusal(stored(tmp_path, "x.csv", counts, index=False))


def test_dates_that_pandas_cannot_read_have_no_command(tmp_path: Path):
    frame = pd.DataFrame({"a": A, "d": [f"2020-13-{i + 1}" for i in range(N)]})
    assert "python" not in refusal(stored(tmp_path, "x.csv", frame, index=False))


def test_rows_without_a_date_are_removed(tmp_path: Path):
    frame = pd.DataFrame({"a": A, "d": [None if i == 2 else f"2020-01-{i + 2:02}" for i in range(N)]})
    said = refusal(stored(tmp_path, "x.csv", frame, index=False))
    for n in (0, 1):
        assert cured(said, n).rows[:, -1].tolist() == [i + 2 * n for i in range(N) if i != 2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (lambda i: f"{12 + i} %", lambda i: (12 + i) / 100),
        (lambda i: f"{i}.5%", lambda i: (i + 0.5) / 100),
        (lambda i: f"{i}\u00a0‰", lambda i: i / 1000),
        (lambda i: f"${1234.5 + i:,.2f}", lambda i: 1234.5 + i),
        (lambda i: f"-£{i + 1},000", lambda i: -1000.0 * (i + 1)),
        (lambda i: f"{i},5 €", lambda i: i + 0.5),
        (lambda i: f"1.{i:03},50 EUR", lambda i: 1000.5 + i),
        (lambda i: f"CHF 1'{i:03}.25", lambda i: 1000.25 + i),
    ],
)
def test_percentages_and_money_are_cured_with_numbers(text: Any, value: Any, tmp_path: Path):
    frame = pd.DataFrame({"a": A, "p": [*map(text, range(N))]})
    said = refusal(stored(tmp_path, "x.csv", frame, index=False))
    shown = text(0).replace("\u00a0", " ")
    assert f"write plain numbers ({shown!r} is {value(0):.15g})" in said
    torch.testing.assert_close(cured(said).rows[:, 1], torch.tensor([*map(value, range(N))], dtype=torch.float32))


@pytest.mark.parametrize("marks", [("-", "-"), ("?", ""), ("n/a", "unknown"), ("#REF!", "n.d.")])
@pytest.mark.parametrize(
    ("fact", "text", "value"),
    [
        (
            "dates",
            lambda i: f"{2000 + i}-01-01",
            lambda i: (datetime.date(2000 + i, 1, 1) - datetime.date(2000, 1, 1)).days,
        ),
        ("times", lambda i: f"{i % 24:02}:30", lambda i: 3600 * (i % 24) + 1800),
        ("times of day", lambda i: f"{i % 11 + 1}:00 pm", lambda i: 3600 * (i % 11 + 13)),
        ("durations or times of day", lambda i: f"0:{i:02}:01", lambda i: 60 * i + 1),
        ("percentages", lambda i: f"{i}.5%", lambda i: (i + 0.5) / 100),
        ("numbers with a unit", lambda i: f"${i}.50", lambda i: i + 0.5),
    ],
)
def test_marks_for_missing_count_as_gaps_of_a_column(
    fact: str, text: Any, value: Any, marks: tuple[str, str], tmp_path: Path
):
    """Dates with a - among them are dates; the command removes the rows of the marks."""
    cells = [marks[i - 2] if i in (2, 3) else text(i) for i in range(N)]
    said = refusal(stored(tmp_path, "x.csv", pd.DataFrame({"a": A, "t": cells}), index=False))
    assert f"holds {fact} in column t ('{text(0)}' in line 2)" in said
    expected = torch.tensor([value(i) for i in range(N) if i not in (2, 3)], dtype=torch.float32)
    torch.testing.assert_close(cured(said).rows[:, 1], expected)


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_dates_of_a_workbook_may_have_marks(name: str, tmp_path: Path):
    days: list[Any] = [datetime.datetime(2000 + i, 1, 1) for i in range(N)]
    days[4] = "-"
    said = refusal(stored(tmp_path, name, pd.DataFrame({"a": A, "t": days}), index=False))
    assert "holds dates in column t" in said
    assert cured(said).rows[:, 1].tolist() == [(day - days[0]).days for day in days if day != "-"]


@pytest.mark.parametrize(("mark", "unit"), [(".", "€"), (",", "USD")])
def test_money_has_no_three_decimals(mark: str, unit: str, tmp_path: Path):
    """Although other columns have a decimal point; the cell that is shown is one that could be read in two ways."""
    frame = pd.DataFrame({"a": [0.25, *A[1:]], "p": [f"{i}{mark}500 {unit}" if i else f"500 {unit}" for i in range(N)]})
    said = refusal(stored(tmp_path, "x.csv", frame, index=False))
    assert f"write plain numbers ('1{mark}500 {unit}' is 1500)" in said
    assert cured(said).rows[:, 1].tolist() == [1000.0 * i + 500 for i in range(N)]
    shares = pd.DataFrame({"a": [0.25, *A[1:]], "p": [f"{i}.500 %" for i in range(N)]})
    said = refusal(stored(tmp_path, "x.csv", shares, index=False))
    assert "write plain numbers ('0.500 %' is 0.005)" in said


def test_command_that_would_be_cut_is_left_out(tmp_path: Path):
    """A message is shown up to 2,000 characters, and a part of a command does not run."""
    days = pd.date_range("2020-01-20", periods=N, freq="2D").strftime("%Y-%m-%d")
    for n_columns, n_commands in ((1, 2), (3, 1), (30, 0)):
        names = [f"the {i}th day's date of this table" for i in range(n_columns)]
        frame = pd.DataFrame({"a": A, **dict.fromkeys(names, days)})
        said = refusal(stored(tmp_path, f"{n_columns}.csv", frame, index=False))
        assert len(said) < 2000
        assert said.count("python -c") == n_commands


def test_nested_records_are_written_as_rows(tmp_path: Path):
    x = np.zeros(N, dtype=[("a", "f4"), ("g", [("p", "f4"), ("q", "f4")])])
    x["a"], x["g"]["p"], x["g"]["q"] = A, B, 2 * np.arange(N)
    said = refusal(write(tmp_path, "x.npy", x))
    assert "must hold one number a field and row, got [('a', '<f4'), ('g', [" in said
    assert cured(said).rows[:].tolist() == [[a, b, 2 * i] for i, (a, b) in enumerate(without())]


@pytest.mark.parametrize("texts", [("$5", "5 €"), ("5 %", "5"), ("$5%", "$6%"), ("$1,5", "$1.5")])
def test_numbers_of_several_units_or_readings_have_no_command(texts: tuple[str, str], tmp_path: Path):
    frame = pd.DataFrame({"a": A, "p": [texts[i % 2] for i in range(N)]})
    said = refusal(stored(tmp_path, "x.csv", frame, index=False))
    assert "holds percentages" not in said
    assert "holds numbers with a unit" not in said


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_records_are_cured_as_a_table(name: str, order: str, tmp_path: Path):
    """In both orders of bytes; text among the fields is left out, as of any table."""
    x = np.zeros(N, dtype=[("a", f"{order}f8"), ("b", f"{order}f4"), ("t", f"{order}U4")])
    x["a"], x["b"], x["t"] = A, B, "u"
    x["a"][3] = np.nan
    read = cured(refusal(write(tmp_path, name, x if name == "x.npy" else {"x": x})))
    assert (read.column_names, read.rows[:].tolist()) == (("a", "b"), without(3))


def test_records_of_several_numbers_are_written_as_rows(tmp_path: Path):
    x = np.zeros(N, dtype=[("a", "f8"), ("v", "i4", (2,)), ("r", [("u", "f4")])])
    x["a"], x["v"], x["r"]["u"] = A, np.arange(2 * N).reshape(N, 2), B
    said = refusal(write(tmp_path, "x.npy", x))
    assert "must hold one number a field and row, got [('a', '<f8'), ('v', '<i4', (2,)), ('r', [" in said
    assert cured(said).rows[:].tolist() == [[a, 2 * i, 2 * i + 1, b] for i, (a, b) in enumerate(without())]
    texts = np.zeros(N, dtype=[("v", "U3", (2,))])
    assert "python" not in refusal(write(tmp_path, "t.npy", texts))


def test_stream_of_arrow_is_cured(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    frame = with_values("a", {3: np.nan}).astype({"a": float}).set_index(pd.Index(range(N, 0, -1)))
    table = arrow.Table.from_pandas(frame)
    with arrow.OSFile(str(tmp_path / "x.arrow"), "wb") as file, arrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    read = cured(refusal(str(tmp_path / "x.arrow"), label="k"))
    assert (read.column_names, read.class_names, read.rows[:].tolist()) == (("a", "b"), ("u", "v", "NA"), without(3))


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.arrow"])
def test_columns_of_one_name_are_cured(name: str, tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    a = np.where(np.arange(N) == 3, np.nan, A)
    table = arrow.Table.from_arrays([arrow.array(B), arrow.array(a)], names=["a", "a"])
    if name == "x.parquet":
        importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / name)
    else:
        new = arrow.ipc.new_file if name == "x.feather" else arrow.ipc.new_stream
        with arrow.OSFile(str(tmp_path / name), "wb") as file, new(file, table.schema) as writer:
            writer.write_table(table)
    read = cured(refusal(str(tmp_path / name)))
    assert (read.column_names, read.rows[:].tolist()) == (("a", "a.1"), [[b, a] for a, b in without(3)])


@pytest.mark.filterwarnings("ignore:.*Feather V1")
def test_first_version_of_feather_is_written_as_the_second(tmp_path: Path):
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(FRAME[["a", "b"]], tmp_path / "x.feather", version=1)
    assert cured(refusal(str(tmp_path / "x.feather"))).rows[:].tolist() == without()
