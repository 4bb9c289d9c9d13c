"""A comparison as CSV, LaTeX and terminal tables."""

import csv
import io
import math
import re
import statistics

import pytest
from rich.console import Console

from ebm_cli.comparison.columns import COSTS, QUALITIES
from ebm_cli.comparison.tables import console_tables, escape_tex, to_csv, to_tex
from ebm_cli.reporting.narrow import Fitting
from tests.comparison.support import HOSTILE, Runs


def test_csv_has_every_digit(runs: Runs) -> None:
    values = [0.1234567890123, 1 / 3, 2e-17]
    for value in values:
        runs.write(HOSTILE, results={"eval/kl": value, "cost/seconds": 3.0})
    [row] = csv.DictReader(io.StringIO(to_csv(runs.compare())))
    assert row["method"] == HOSTILE
    assert (row["dataset"], row["n"], row["eval/kl n"]) == ("moons", "3", "3")
    assert float(row["eval/kl"]) == math.fsum(values) / 3
    assert float(row["eval/kl sd"]) == pytest.approx(statistics.stdev(values), rel=1e-12)


def test_missing_results_are_empty_or_a_dash(runs: Runs) -> None:
    runs.write(results={"eval/kl": 0.2, "eval/ksd": 1.0})
    runs.write(results={"eval/kl": None, "eval/ksd": 2.0})
    runs.write("sm", results={"eval/kl": 0.4})
    comparison = runs.compare()
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert [(row["eval/ksd"], row["eval/ksd n"]) for row in rows] == [("1.5", "2"), ("", "0")]
    assert "& 0.2000 (n=1) & \\textbf" not in to_tex(comparison)
    assert "& \\textbf{0.2000 (n=1)} & 1.50 $\\pm$ 0.71 &" in to_tex(comparison)
    assert "sm & 1 & 0.4000 & -- &" in to_tex(comparison)


def test_tex_has_the_numbers_in_their_cells(runs: Runs) -> None:
    runs.write_kls(HOSTILE, 0.10, 0.20, 0.33)
    runs.write("sm", results={"eval/kl": 0.7})
    comparison = runs.compare()
    body = to_tex(comparison).split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    rows = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body[1:]]
    assert body[0] == rf"\multicolumn{{{len(rows[0])}}}{{l}}{{\textit{{moons}}}} \\"
    found = re.fullmatch(r"\\textbf\{([\d.]+) \$\\pm\$ ([\d.]+)\}", rows[0][2])
    assert found is not None
    spread = comparison.groups[0].spreads["eval/kl"]
    assert float(found[1]) == pytest.approx(spread.mean, abs=0.005)
    assert float(found[2]) == pytest.approx(statistics.stdev([0.10, 0.20, 0.33]), abs=0.005)
    assert rows[1][:3] == ["sm", "1", "0.7000"]
    # The label ends neither its cell nor its line, and opens no group.
    assert len({len(row) for row in rows}) == 1
    assert rows[0][0] == escape_tex(HOSTILE)
    assert not re.search(r"(?<!\\)[&%$#_~^<>|]", escape_tex(HOSTILE).replace("{}", ""))


def test_console_tables_fit_their_width(runs: Runs) -> None:
    names = [column.key for column in (*QUALITIES, *COSTS) if column.key != "cost/steps"]
    for method in ("nce", "a_method_with_a_long_name"):
        for value in (0.123456, 0.234567):
            runs.write(method, results=dict.fromkeys(names, value))
    comparison = runs.compare()
    for width in (60, 80, 120, 200, 440):
        out = io.StringIO()
        console = Console(file=out, width=width)
        [(table, left_out)] = console_tables(comparison, width)
        console.print(table)
        assert "…" not in out.getvalue()
        assert "KL" in out.getvalue()
        assert max(map(len, out.getvalue().splitlines())) <= width
        assert (left_out == []) is (width == 440)
        assert len(left_out) + len(table.columns) - 2 == len(comparison.columns)


def test_narrow_console_table_keeps_the_headline_costs(runs: Runs) -> None:
    names = [column.key for column in (*QUALITIES, *COSTS) if column.key != "cost/steps"]
    runs.write(results=dict.fromkeys(names, 0.123456))
    [(table, _)] = console_tables(runs.compare(), 60)
    heads = [str(column.header) for column in table.columns]
    assert {"KL", "seconds", "∇f"} <= set(heads)
    assert "memory" not in heads


@pytest.mark.parametrize("width", [20, 40])
def test_a_table_that_fits_nowhere_is_stacked(runs: Runs, width: int) -> None:
    for method in ("nce", "a_method_with_a_long_name"):
        for value in (0.123456, 0.234567):
            runs.write(method, results={"eval/kl": value})
    [(table, _)] = console_tables(runs.compare(), width)
    out = io.StringIO()
    Console(file=out, width=width).print(Fitting(table))
    assert "…" not in out.getvalue()
    assert out.getvalue().count("0.179 ± 0.079") == 2
    assert max(map(len, out.getvalue().splitlines())) <= width
