"""`ebm compare`: what is averaged and what never is, which is best, and a page that a browser shows."""

import csv
import html
import io
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ebm_cli.commands.compare import select_runs
from ebm_cli.comparison import charts, page
from ebm_cli.comparison.columns import COSTS, QUALITIES, column_of
from ebm_cli.comparison.conclusions import conclusion, overall, warnings
from ebm_cli.comparison.groups import Comparison, Group, compare
from ebm_cli.comparison.page import Panel
from ebm_cli.comparison.spread import Spread, welch
from ebm_cli.comparison.tables import console_tables, escape_tex, to_csv, to_tex
from ebm_cli.errors import UserError
from ebm_cli.runs import record as records
from tests.support import REPO, TINY, Ebm, no_pictures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a run's directory as training leaves it."""
    numbers = iter(range(1000))

    def run(
        method: str = "nce",
        dataset: str = "moons",
        results: dict[str, Any] | None = None,
        *,
        seed: int | None = None,
        state: str = "finished",
        config: dict[str, Any] | None = None,
        **status: Any,
    ) -> Path:
        number = next(numbers)
        path = tmp_path / "runs" / f"{number:03d}"
        (path / ".hydra").mkdir(parents=True)
        versions = {"python": "3.12.1", "torch": "2.13.0"}
        noted = {"state": state, "step": 100, "steps": 100, "started": 1e9 + number, "versions": versions} | status
        (path / "status.json").write_text(json.dumps(noted))
        choices = {"method": method, "dataset": dataset, "hydra/launcher": "basic"}
        (path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
        made = {"seed": number if seed is None else seed, "batch_size": 10, "energy": {"width": 8}}
        (path / "config.yaml").write_text(json.dumps(made | (config or {})))
        if results is not None:
            (path / "results.json").write_text(json.dumps(results))
        return path

    return run


def of(tmp_path: Path, by: list[str] | None = None, metrics: list[str] | None = None) -> Comparison:
    return compare(records.find(tmp_path / "runs"), by or ["method", "dataset"], metrics)


def groups(comparison: Comparison) -> dict[str, Group]:
    return {" ".join(group.names): group for group in comparison.groups}


def kl(*values: float, seconds: float = 1.0) -> Iterator[dict[str, float]]:
    for value in values:
        yield {"eval/kl": value, "cost/seconds": seconds, "cost/grad_evals": 2.0}


# --- mean, spread, best -----------------------------------------------------------------------------------------------


def test_mean_and_sd_of_a_group(write: Write, tmp_path: Path) -> None:
    for results in kl(0.1, 0.2, 0.6):
        write("nce", results=results)
    write("sm", results={"eval/kl": 0.5})
    found = groups(of(tmp_path))
    nce, sm = found["nce moons"].spreads["eval/kl"], found["sm moons"].spreads["eval/kl"]
    assert nce.mean == pytest.approx(0.3)
    assert nce.sd == pytest.approx(statistics.stdev([0.1, 0.2, 0.6]))
    assert nce.sd != pytest.approx(statistics.pstdev([0.1, 0.2, 0.6]))
    assert (nce.n, sm) == (3, Spread(0.5, None, 1))


def test_what_a_run_lacks_is_missing_and_not_zero(write: Write, tmp_path: Path) -> None:
    write(results={"eval/kl": 0.2, "eval/ksd": 1.0})
    write(results={"eval/kl": None, "eval/ksd": 2.0})
    write("sm", results={"eval/kl": 0.4, "eval/mmd": True, "eval/fisher": "none"})
    comparison = of(tmp_path)
    found = groups(comparison)
    assert found["nce moons"].spreads["eval/kl"] == Spread(0.2, None, 1)
    assert "eval/ksd" not in found["sm moons"].spreads
    assert [m.key for m in comparison.qualities] == ["eval/kl", "eval/ksd"]
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert [(row["eval/ksd"], row["eval/ksd n"]) for row in rows] == [("1.5", "2"), ("", "0")]
    assert "& 0.2000 (n=1) & \\textbf" not in to_tex(comparison)
    assert "& \\textbf{0.2000 (n=1)} & 1.50 $\\pm$ 0.71 &" in to_tex(comparison)
    assert "sm & 1 & 0.4000 & -- &" in to_tex(comparison)


@pytest.mark.parametrize("state", ["running", "interrupted", "diverged", "failed", "lost", "broken", "without results"])
def test_only_finished_runs_count(write: Write, tmp_path: Path, state: str) -> None:
    for results in kl(0.1, 0.3):
        write(results=results)
    wild = {"eval/kl": 1000.0}
    reason = "the loss is not finite at step 7" if state == "diverged" else None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    status = {"lost": {"state": "running", "pid": dead.pid, "host": os.uname().nodename}, "without results": {}}
    bad = write(results=None if state == "without results" else wild, **(status.get(state) or {"state": state}))
    if reason:
        noted = json.loads((bad / "status.json").read_text()) | {"reason": reason}
        (bad / "status.json").write_text(json.dumps(noted))
    if state == "broken":
        (bad / "results.json").write_text('{"eval/kl": 1000')
    comparison = of(tmp_path)
    assert groups(comparison)["nce moons"].spreads["eval/kl"].mean == pytest.approx(0.2)
    [(record, why)] = comparison.excluded
    assert record.path == bad
    expected = {"lost": "process is gone", "running": "still running", "broken": "results.json cannot be read"}
    assert (reason or expected.get(state) or state) in why
    assert why in html.unescape(page.render(comparison, {}, ""))
    # The control: had it been counted, the mean would be another.
    counted = [r._replace(state="finished", results=r.results or wild) for r in records.find(tmp_path / "runs")]
    assert groups(compare(counted, ["method", "dataset"]))["nce moons"].spreads["eval/kl"].mean > 300


def test_the_best_of_each_column(write: Write, tmp_path: Path) -> None:
    nce = {"eval/kl": 0.1, "eval/c2st": 0.40, "eval/log_z_gap": -0.3, "eval/coverage": 0.9, "sampler/acceptance": 0.6}
    sm = {"eval/kl": 0.2, "eval/c2st": 0.55, "eval/log_z_gap": 0.2, "eval/coverage": 0.95, "sampler/acceptance": 0.9}
    write("nce", results=nce | {"cost/seconds": 3.0})
    write("sm", results=sm | {"cost/seconds": 2.0})
    write("cd", results={"eval/kl": 0.1, "cost/seconds": 2.0})
    keys = ["eval/kl", "eval/c2st", "eval/log_z_gap", "eval/coverage", "sampler/acceptance"]
    [section] = of(tmp_path, metrics=keys).sections
    best = {key: {name for name, _ in names} for key, names in section.best.items()}
    assert best == {
        "eval/kl": {"nce", "cd"},
        "eval/c2st": {"sm"},
        "eval/log_z_gap": {"sm"},
        "eval/coverage": {"sm"},
        "cost/seconds": {"sm", "cd"},
    }


def test_nothing_is_better_than_the_data_themselves(write: Write, tmp_path: Path) -> None:
    """A distance below its value between data and data is so by chance: those groups share the first place."""
    for method, value in (("nce", 0.0), ("sm", 0.009), ("cd", 0.02)):
        write(method, results={"eval/mmd": value, "eval/mmd_null": 0.01})
    [section] = of(tmp_path, metrics=["eval/mmd"]).sections
    assert {name for name, _ in section.best["eval/mmd"]} == {"nce", "sm"}


def test_magnitudes_are_averaged_not_signs(write: Write, tmp_path: Path) -> None:
    for gap in (-0.3, 0.3):
        write(results={"eval/log_z_gap": gap})
    assert groups(of(tmp_path))["nce moons"].spreads["eval/log_z_gap"] == Spread(0.3, 0.0, 2)


def test_groups_stand_best_first_by_what_all_have(write: Write, tmp_path: Path) -> None:
    write("nce", results={"eval/nll": 3.0})
    write("sm", results={"eval/nll": 2.0, "eval/kl": 0.5})
    write("cd", results={"eval/nll": 1.0, "eval/kl": 0.7})
    write("nce", "rings", results={"eval/kl": 0.5})
    write("sm", "rings", results={"eval/kl": 0.4})
    moons, rings = of(tmp_path).sections
    assert moons.ranking is not None
    assert (moons.ranking.key, [g.label for g in moons.groups]) == ("eval/nll", ["cd", "sm", "nce"])
    assert rings.ranking is not None
    assert (rings.ranking.key, [g.label for g in rings.groups]) == ("eval/kl", ["sm", "nce"])
    [by_kl, _] = of(tmp_path, metrics=["eval/kl"]).sections
    assert [g.label for g in by_kl.groups] == ["sm", "cd", "nce"]


def test_the_data_have_a_row_of_their_own(write: Write, tmp_path: Path) -> None:
    write(results={"eval/nll": 1.5, "eval/entropy": 1.0, "eval/mmd": 0.3, "eval/mmd_null": 0.01})
    write("sm", results={"eval/nll": 1.4, "eval/entropy": 1.0, "eval/mmd": 0.2, "eval/mmd_null": 0.03})
    [section] = of(tmp_path).sections
    assert dict(section.references) == {"eval/nll": 1.0, "eval/mmd": 0.02}


def test_the_median_run_is_the_one_to_show(write: Write, tmp_path: Path) -> None:
    for results in kl(0.9, 0.2, 0.3, 0.25):
        write(results=results)
    [group] = of(tmp_path).groups
    assert group.median(column_of("eval/kl")).results["eval/kl"] == 0.25
    assert group.median(None) is group.records[0]


@pytest.mark.parametrize(
    ("spread", "said"),
    [
        (Spread(0.01234, 0.00123, 3), "0.0123 ± 0.0012"),
        (Spread(655.1, 120.0, 3), "655 ± 120"),
        (Spread(2.5e-7, 3e-8, 2), "2.50e-07 ± 3.0e-08"),
        (Spread(3.2e8, 1.234e6, 2), "3.200e+08 ± 1.2e+06"),
        (Spread(1.3900005, 2e-9, 2), "1.390000 ± 2.0e-09"),
        (Spread(0.0, 0.02, 2), "0.000 ± 0.020"),
        (Spread(6.0, 0.0, 2), "6"),
        (Spread(0.5, None, 1), "0.5000"),
    ],
)
def test_a_spread_is_said_to_two_digits(spread: Spread, said: str) -> None:
    assert str(spread) == said


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_by_config_keys(write: Write, tmp_path: Path) -> None:
    for width, value in ((8, 0.1), (8, 0.3), (64, 0.5)):
        write(results={"eval/kl": value}, config={"energy": {"width": width}})
    comparison = of(tmp_path, ["method", "energy.width"])
    assert {" ".join(g.names): g.spreads["eval/kl"].mean for g in comparison.groups} == {"nce 8": 0.2, "nce 64": 0.5}
    assert [section.name for section in comparison.sections] == ["moons"]
    assert {g.label for g in comparison.groups} == {"nce, energy.width=8", "nce, energy.width=64"}
    assert warnings(comparison) == []


def test_one_row_for_each_data_set(write: Write, tmp_path: Path) -> None:
    for dataset in ("moons", "rings"):
        write(dataset=dataset, results={"eval/kl": 0.1})
    comparison = of(tmp_path, ["dataset"])
    assert [(s.name, [g.label for g in s.groups], dict(s.best)) for s in comparison.sections] == [
        ("moons", ["all runs"], {}),
        ("rings", ["all runs"], {}),
    ]


def test_groups_that_mix_configs_are_noticed(write: Write, tmp_path: Path) -> None:
    write(results={"eval/kl": 0.1}, seed=1, config={"steps": 8000, "log_every": 1})
    write(results={"eval/kl": 0.1}, seed=2, config={"steps": 20000, "log_every": 2})
    assert warnings(of(tmp_path)) == ["groups mix steps=8000 and 20000; add it to by: by=[method,dataset,steps]"]
    assert warnings(of(tmp_path, ["method", "dataset", "steps"])) == []


def test_groups_that_mix_options_are_noticed_by_the_option(write: Write, tmp_path: Path) -> None:
    write(dataset="moons", results={"eval/kl": 0.1}, config={"dataset": {"noise": 1}})
    write(dataset="rings", results={"eval/kl": 0.1}, config={"dataset": {"radius": 2}})
    [notice] = warnings(of(tmp_path, ["method"]))
    assert notice == "groups mix dataset=moons and rings; add it to by: by=[method,dataset]"


def test_a_seed_that_was_run_again_is_noticed(write: Write, tmp_path: Path) -> None:
    for seed in (3, 3):
        write(results={"eval/kl": 0.1}, seed=seed)
    assert warnings(of(tmp_path)) == ["nce · moons: several runs of seed=3; a repeated seed shows no spread"]


# --- which one to use -------------------------------------------------------------------------------------------------


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    a, b = [0.1, 0.3, 0.2, 0.25], [0.5, 0.35, 0.9]
    assert welch(Spread.of(a), Spread.of(b)) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue)
    assert welch(Spread.of(a), Spread.of(a)) == pytest.approx(1)
    assert welch(Spread(1, 0.0, 2), Spread(2, 0.0, 2)) == 0
    assert welch(Spread(1, 0.0, 2), Spread(1, 0.0, 2)) == 1
    assert welch(Spread.of(a), Spread(1, None, 1)) is None


@pytest.mark.parametrize(
    ("nce", "sm", "said"),
    [
        ((0.10, 0.11, 0.12), (0.50, 0.51, 0.52), "is beyond the spread of the seeds (Welch's t-test, p < 0.0001)"),
        ((0.10, 0.11, 0.12), (0.05, 0.20, 0.15), "is within the spread of the seeds (Welch's t-test, p = 0.65)"),
        ((0.1,), (0.5,), "and the difference cannot be tested with fewer than two seeds per group"),
    ],
)
def test_a_lead_is_held_against_the_seeds(
    write: Write, tmp_path: Path, nce: tuple[float, ...], sm: tuple[float, ...], said: str
) -> None:
    for method, values in (("nce", nce), ("sm", sm)):
        for results in kl(*values):
            write(method, results=results)
    [section] = of(tmp_path).sections
    assert conclusion(section).startswith(f"moons: nce has the lowest eval/kl, {section.groups[0].spreads['eval/kl']}")
    assert said in conclusion(section)


def test_the_cheapest_that_is_as_good(write: Write, tmp_path: Path) -> None:
    for method, values, seconds in (
        ("nce", (0.10, 0.14), 40.0),
        ("sm", (0.13, 0.14), 12.0),
        ("cd", (0.1, 0.9), 1.0),  # within the noise of its own seeds, and yet no substitute
    ):
        for results in kl(*values, seconds=seconds):
            write(method, results=results)
    [section] = of(tmp_path).sections
    assert conclusion(section).endswith("the cheapest within one sd of it is sm, 12.00 s instead of 40.00 s.")
    [_, worse, _] = section.groups
    alone = section.__class__("moons", (section.groups[0], section.groups[2]), section.ranking, {}, {})
    assert worse.label == "sm"
    assert conclusion(alone).endswith("nothing within one sd of it is cheaper than its 40.00 s.")


def test_over_data_sets(write: Write, tmp_path: Path) -> None:
    for dataset, shift in (("moons", 0.0), ("rings", 0.39)):
        for i in range(3):
            write("nce", dataset, results={"eval/kl": 0.1 + 0.01 * i + shift})
            write("sm", dataset, results={"eval/kl": 0.5 + 0.01 * i})
    assert overall(of(tmp_path)) == "Of 2 data sets nce leads on 2, beyond the spread of the seeds on 1."


@pytest.mark.parametrize(
    ("results", "said"),
    [({"eval/kl": 0.1}, "nce alone has eval/kl, 0.1000 (1 run)"), ({"cost/seconds": 1.0}, "no result to rank by")],
)
def test_nothing_to_rank(write: Write, tmp_path: Path, results: dict[str, float], said: str) -> None:
    write(results=results)
    write("sm", results={"cost/seconds": 2.0})
    [section] = of(tmp_path).sections
    assert said in conclusion(section)


# --- files ------------------------------------------------------------------------------------------------------------


HOSTILE = 'a<b>&"q"\'s_50%$#{x}~^\\end|,\n'


def test_csv_gives_every_digit_back(write: Write, tmp_path: Path) -> None:
    values = [0.1234567890123, 1 / 3, 2e-17]
    for value in values:
        write(HOSTILE, results={"eval/kl": value, "cost/seconds": 3.0})
    [row] = csv.DictReader(io.StringIO(to_csv(of(tmp_path))))
    assert row["method"] == HOSTILE
    assert (row["dataset"], row["n"], row["eval/kl n"]) == ("moons", "3", "3")
    assert float(row["eval/kl"]) == math.fsum(values) / 3
    assert float(row["eval/kl sd"]) == pytest.approx(statistics.stdev(values), rel=1e-12)


def test_tex_gives_the_numbers_back(write: Write, tmp_path: Path) -> None:
    for results in kl(0.10, 0.20, 0.33):
        write(HOSTILE, results=results)
    write("sm", results={"eval/kl": 0.7})
    comparison = of(tmp_path)
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


def test_tables_fit_the_terminal(write: Write, tmp_path: Path) -> None:
    names = [m.key for m in (*QUALITIES, *COSTS) if m.key != "cost/steps"]
    for method in ("nce", "a_method_with_a_long_name"):
        for value in (0.123456, 0.234567):
            write(method, results=dict.fromkeys(names, value))
    comparison = of(tmp_path)
    for width in (60, 80, 120, 200, 400):
        out = io.StringIO()
        console = Console(file=out, width=width)
        [(table, left_out)] = console_tables(comparison, width)
        console.print(table)
        assert "…" not in out.getvalue()
        assert "KL" in out.getvalue()
        assert max(map(len, out.getvalue().splitlines())) <= width
        assert (left_out == []) is (width == 400)
        assert len(left_out) + len(table.columns) - 2 == len(comparison.columns)


# --- the page ---------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every tag with its attributes, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data


def square(shade: int) -> bytes:
    from matplotlib.image import imsave

    out = io.BytesIO()
    imsave(out, np.full((8, 8, 3), shade, np.uint8), format="png")
    return out.getvalue()


def a_page(write: Write, tmp_path: Path) -> str:
    """A page with everything on it: two data sets, hostile names, what is missing, what is not counted, pictures."""
    for i, value in enumerate((0.1, 0.15, 0.2)):
        write("nce", results={"eval/kl": value, "eval/nll": 1.5, "cost/seconds": 1.0 + i, "cost/grad_evals": 0.0})
        write(HOSTILE, results={"eval/kl": 3 * value, "cost/seconds": 5.0 + i, "cost/grad_evals": 2.0})
    write("nce", "rings", results={"eval/kl": 0.2, "cost/seconds": 1.0})
    write("cd", state="diverged", reason="<script>alert(1)</script> at step 3")
    pictures = [
        Panel("data", {"density": square(10), "samples": square(20)}),
        Panel(HOSTILE, {}, "no picture: <img src=x>"),
    ]
    return page.render(of(tmp_path), {"moons": pictures}, "Made by hand.")


def test_the_page_needs_nothing_else(write: Write, tmp_path: Path) -> None:
    elements = Elements(a_page(write, tmp_path))
    addresses = [
        value
        for _, attrs in elements.tags
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "data")
    ]
    assert len(addresses) == 2 + 2 + 1
    assert all(address.startswith("data:image/") for address in addresses)
    assert not {tag for tag, _ in elements.tags} & {"script", "link", "iframe", "object", "base"}
    assert not [name for _, attrs in elements.tags for name in attrs if name.startswith("on")]
    assert not re.search(r"@import|url\(", a_page(write, tmp_path))


def test_names_on_the_page_are_text(write: Write, tmp_path: Path) -> None:
    text = a_page(write, tmp_path)
    assert "<script" not in text
    assert "<img src=x" not in text
    words = Elements(text).words
    for said in (HOSTILE.strip(), "<script>alert(1)</script> at step 3", "no picture: <img src=x>"):
        assert said in words


def test_the_page_says_what_the_table_says(write: Write, tmp_path: Path) -> None:
    text = a_page(write, tmp_path)
    assert "<b>0.150</b><small>± 0.050</small>" in text
    assert "<td>0.45<small>± 0.15</small></td>" in text
    assert "<td>–</td>" in text
    assert conclusion(of(tmp_path).sections[0]).partition(": ")[2] in Elements(text).words


def test_cost_without_gradients_is_drawn_at_zero() -> None:
    clouds = [charts.Cloud("nce", 0, [(0.0, 0.1), (0.0, 0.2)]), charts.Cloud("sm", 1, [(1e5, 0.3)])]
    svg = charts.quality_against_cost(clouds, "cost", "KL", log_y=True)
    assert svg.startswith("<svg")
    assert {charts.COLOURS[0], charts.COLOURS[1]} <= set(re.findall(r"#\w{6}", svg))
    assert charts.COLOURS[2] not in svg
    assert "currentColor" in svg
    assert not re.search(r"(src|href)=.https?:", svg)


class Seen:
    """What a browser made of a page: its document, its complaints, its pixels."""

    def __init__(self, text: str, folder: Path) -> None:
        folder.mkdir()
        file, shot = folder / "compare.html", folder / "shot.png"
        file.write_text(text, encoding="utf-8")
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
        flags += ("--disable-background-networking", "--disable-component-update", "--hide-scrollbars")
        flags += ("--enable-logging=stderr", "--window-size=1200,2400", f"--user-data-dir={folder / 'profile'}")
        assert CHROMIUM is not None
        command = [CHROMIUM, *flags, "--dump-dom", f"--screenshot={shot}", file.as_uri()]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert shot.is_file(), ran.stderr[-2000:]
        from matplotlib.image import imread

        self.dom = ran.stdout
        self.complaints = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
        self.pixels = (np.asarray(imread(shot))[..., :3] * 255).round().astype(int)

    def count(self, colour: str) -> int:
        """How many pixels have nearly this colour."""
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((np.abs(self.pixels - wanted).max(-1) <= 3).sum())


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to open the page in")
def test_a_browser_shows_the_page(write: Write, tmp_path: Path) -> None:
    text = a_page(write, tmp_path)
    seen = Seen(text, tmp_path / "seen")
    assert seen.complaints == []
    words = Elements(seen.dom).words
    for said in ("Which one to use", "moons", "nce has the lowest eval/kl, 0.150 ± 0.050 (3 runs)", "Not counted"):
        assert said in words
    assert len(re.findall(r"<tr>", seen.dom)) == text.count("<tr>")
    # The pictures are drawn: one with the colour of the first group, one of a single grey.
    control = Seen(
        re.sub(r"data:image/[^\"]*", "data:image/png,", text).replace(
            "</main>", '<img src="http://127.0.0.1:9/"></main>'
        ),
        tmp_path / "control",
    )
    assert seen.count(charts.COLOURS[0]) > control.count(charts.COLOURS[0]) + 50
    assert seen.count("#0a0a0a") > control.count("#0a0a0a") + 5000
    # And what would be fetched is refused, which the browser says.
    assert any("Content Security Policy" in line for line in control.complaints)


# --- the command ------------------------------------------------------------------------------------------------------


def test_compare_writes_its_files(ebm: Ebm, write: Write, tmp_path: Path) -> None:
    for results in kl(0.1, 0.2):
        write(results=results)
        write("sm", results={"eval/kl": 5 * results["eval/kl"]})
    write("cd", state="failed", reason="RuntimeError: no memory")
    ran = ebm("compare", "runs=runs/*", "pictures=false")
    assert (ran.code, ran.err) == (0, "")
    assert "moons: nce has the lowest eval/kl, 0.150 ± 0.071 (2 runs); sm follows with 0.75 ± 0.35" in ran.out
    assert "RuntimeError: no memory" in ran.out
    [folder] = (tmp_path / "outputs" / "compare").glob("*/*")
    assert {path.name for path in folder.iterdir()} >= {"compare.csv", "compare.tex", "compare.html", ".hydra"}
    for name in ("compare.csv", "compare.tex", "compare.html"):
        assert str(folder / name).removeprefix(f"{tmp_path}/") in ran.out
    rows = list(csv.DictReader((folder / "compare.csv").read_text().splitlines()))
    assert [(row["method"], float(row["eval/kl"])) for row in rows] == [("nce", 0.15000000000000002), ("sm", 0.75)]


def test_a_list_of_runs_and_metrics(ebm: Ebm, write: Write, tmp_path: Path) -> None:
    a, b, _ = (write(m, results={"eval/kl": 0.1, "eval/nll": v}) for m, v in (("nce", 2.0), ("sm", 1.0), ("cd", 0.0)))
    words = [f"runs=[{a},{b}]", "by=method", "metrics=[eval/nll]", "pictures=false", "hydra.run.dir=here"]
    ran = ebm("compare", *words)
    assert ran.code == 0, ran.err
    assert "moons: sm has the lowest eval/nll, 1 (1 run); nce follows" in ran.out
    rows = list(csv.DictReader((tmp_path / "here" / "compare.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["sm", "nce"]
    assert "eval/kl" not in rows[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runs=nowhere/*"], "runs=nowhere/*: matches nothing; ebm runs lists all runs"),
        (["runs=nowhere"], "runs=nowhere: no such directory; ebm runs lists all runs"),
        (["runs=empty"], "runs=empty: no run there (no directory at or below it has a status.json)"),
        (["runs=runs/*", "by=[method,energy.widht]"], "by: no run has a key energy.widht; did you mean energy.width?"),
        (
            ["runs=runs/*", "by=[energy]"],
            "by: energy is not a single value; name one of its keys, such as energy.width",
        ),
        (["runs=runs/*", "by=[]"], "by must name at least one, and none twice, got []"),
        (["runs=runs/*", "by=[method,method]"], "by must name at least one, and none twice, got ['method', 'method']"),
        (["runs=runs/*", "metrics=[eval/lk]"], "metrics: no run has a number eval/lk; did you mean eval/kl?"),
        (["runs=bad"], "runs=bad: no finished run to compare (bad/a: lower optimizer.lr)"),
        ([], "runs is required"),
    ],
)
def test_a_mistake_is_one_line_and_makes_nothing(
    ebm: Ebm, write: Write, tmp_path: Path, words: list[str], line: str
) -> None:
    write(results={"eval/kl": 0.1})
    (tmp_path / "empty").mkdir()
    shutil.move(write(state="diverged", reason="lower optimizer.lr"), tmp_path / "bad" / "a")
    ran = ebm("compare", *words)
    assert (ran.code, ran.out, ran.err) == (1, "", f"ebm: {line}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty", "runs"]


def test_runs_are_found_at_any_depth_and_once(write: Write, tmp_path: Path) -> None:
    first, second = write(results={}), write(results={})
    everywhere = [str(tmp_path), str(tmp_path / "ru*"), str(first), str(tmp_path / "**" / "001")]
    assert [record.path for record in select_runs(everywhere)] == [first, second]
    odd = tmp_path / "a[b]*"
    shutil.copytree(first, odd)
    assert [record.path for record in select_runs([str(odd)])] == [odd]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no run there"):
        select_runs([str(tmp_path / "file")])


def test_without_pictures_torch_is_not_imported(write: Write, tmp_path: Path) -> None:
    write(results={"eval/kl": 0.1, "cost/seconds": 1.0})
    code = (
        "import sys; from ebm_cli.cli.main import main; "
        "code = main(['compare', 'runs=runs', 'pictures=false']); sys.exit(code or 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_pictures_of_trained_models(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In two dimensions they are drawn anew; in three, training's own is taken; a damaged checkpoint is said to be."""
    no_pictures(monkeypatch)
    words = [*TINY, "steps=2", "metrics=[score]"]
    assert ebm("train", "-m", *words, "method=dsm,nce", "hydra.sweep.dir=two").code == 0
    assert ebm("train", *words, "dataset=gaussian", "dataset.density.dim=3", "hydra.run.dir=two/2").code == 0
    (tmp_path / "two/2/figures").mkdir()
    (tmp_path / "two/2/figures/final.png").write_bytes(square(7))
    broken = tmp_path / "two/1/checkpoints/last.pt"
    broken.write_bytes(broken.read_bytes()[:-50])
    ran = ebm("compare", "runs=two", "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    text = (tmp_path / "out/compare.html").read_text()
    images = [attrs for tag, attrs in Elements(text).tags if tag == "img"]
    drawn = [attrs["alt"] for attrs in images if "against" not in attrs["alt"]]
    assert drawn == ["nce: data and samples", "data: density", "data: samples", "dsm: density", "dsm: samples"]
    assert images[0]["src"] == charts.data_uri(square(7))
    sizes = [len(attrs["src"]) for attrs in images if attrs["alt"] in drawn]
    assert all(size > 5000 for size in sizes[1:])
    assert re.search(r"no picture: checkpoint=\S+last.pt", Elements(text).words)
