"""Rendering of docs/benchmarks.md and docs/benchmarks.png from docs/benchmarks.json."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import record
from .harness import FLOOR, OURS
from .notes import FAMILIES, HOW, TRIED

TOLERANCE = 0.15
"""A target is met if the median reaches it, or if the worse end of the interval is within 15 % of it."""

StoredRow = dict[str, Any]
"""A row as `harness.stored_form` stores it."""


class Verdict(NamedTuple):
    """A target of a row, the measured number, and whether it meets the target."""

    row: StoredRow
    what: str
    needed: str
    found: str
    met: bool


def render() -> None:
    """Write the page and the picture."""
    found = record.read_rows()
    page, picture = record.FILE.with_suffix(".md"), record.FILE.with_suffix(".png")
    page.write_text(markdown(found), encoding="utf-8")
    draw_picture(found["rows"], picture)


def markdown(found: dict[str, Any]) -> str:
    """The page as Markdown."""
    rows = in_order(found["rows"])
    verdicts = [verdict for row in rows.values() for verdict in verdicts_of(row)]
    met = sum(verdict.met for verdict in verdicts)
    lines = [
        "# Benchmarks",
        "",
        HOW,
        "",
        _machine(found),
        "",
        "![Times faster than the base of each row](benchmarks.png)",
        "",
        "## Targets",
        "",
        f"{met} of {len(verdicts)} targets are met.",
        "",
        "| work | at least | measured | met |",
        "|---|---|---|---|",
        *(f"| {v.what} | {v.needed} | {v.found} | {'yes' if v.met else '**no**'} |" for v in verdicts),
    ]
    for family, (title, text) in FAMILIES.items():
        own = {name: row for name, row in rows.items() if family_of(name) == family}
        if own:
            lines += ["", f"## {title}", "", text, "", *_family(own)]
    lines += ["", "## Tried without success", "", TRIED]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def in_order(rows: dict[str, StoredRow]) -> dict[str, StoredRow]:
    """Rows by family in the order of the page, and by name within a family."""
    families = list(FAMILIES)
    return dict(sorted(rows.items(), key=lambda item: (families.index(family_of(item[0])), _natural(item[0]))))


def family_of(name: str) -> str:
    """The family of a row."""
    return name.partition("-")[0]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key of a name with its numbers by value: sm-2 comes before sm-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in name.split("-")]


def verdicts_of(row: StoredRow) -> Iterator[Verdict]:
    """The verdicts on the targets of a row: least ratios of times, and bounds of numbers."""
    for r in row["ratios"]:
        if r["target"] is not None:
            met = r["median"] >= r["target"] or r["low"] >= (1 - TOLERANCE) * r["target"]
            what = f"{row['title']}: {r['of']}, against {r['to']}"
            yield Verdict(row, what, f"{r['target']:g}×", _interval(r), met)
    for fact in row["facts"]:
        if fact["at_most"] is not None:
            what = f"{row['title']}: {fact['what']}"
            worst = fact["spread"][1] / (1 + TOLERANCE) if fact["spread"] else fact["number"]
            met = fact["number"] is not None and min(fact["number"], worst) <= fact["at_most"]
            yield Verdict(row, what, f"≤ {_number(fact['at_most'])} {fact['unit']}".rstrip(), _fact(fact), met)


def _machine(found: dict[str, Any]) -> str:
    """A paragraph on the date, versions, processor, threads and load of the measurements."""
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items())
    rows = found["rows"].values()
    dates = sorted({row["date"] for row in rows})
    quick = sum(row["quick"] for row in rows)
    threads = sorted({row["threads"] for row in rows})
    busiest = max((row["load"] for row in rows), default=0.0)
    words = [
        f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}" if dates else "No row has been measured",
        f"on {found.get('processor', 'an unknown processor')}, Python {found.get('python', '')}, {versions}",
        f"with {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}",
    ]
    crowded = busiest > max(threads, default=1) + 1
    shared = f" The machine was shared: its load was up to {busiest:.0f}." if crowded else ""
    if crowded and threads == [1]:
        shared += (
            " Rows were therefore measured with one thread, and the targets, which are set for two, are only a guide. "
            "Two threads of OpenMP wait for each other while another process has one of their processors; a step of "
            "torch, ours or a peer's, then takes ten to a hundred times as long."
        )
    few_rounds = f" {quick} of {len(rows)} rows are from a quick run, of few rounds." if quick else ""
    return textwrap.fill(", ".join(words) + "." + shared + few_rounds, 120)


def _family(rows: dict[str, StoredRow]) -> Iterator[str]:
    timed = {name: row for name, row in rows.items() if row["seconds"]}
    if timed:
        yield from _times(list(timed.values()))
    facts = [row for row in rows.values() if row["facts"]]
    if facts:
        yield from [""] if timed else []
        yield from _facts(facts)
    for row in rows.values():
        for curve in row["curves"]:
            yield f"{row['title']}, {curve['what']}: ∝ {curve['x_name']}^{curve['slope']:.2f}"
            yield ""
            yield f"| {curve['x_name']} | " + " | ".join(_number(x) for x in curve["x"]) + " |"
            yield "|---" * (1 + len(curve["x"])) + "|"
            yield f"| {curve['y_name']} | " + " | ".join(_number(y) for y in curve["y"]) + " |"
            yield ""
    notes = dict.fromkeys(note for row in rows.values() for note in row["notes"])
    if notes:
        yield from [""] if timed or facts else []
        yield from (f"- {note}" for note in notes)


def _times(rows: Sequence[StoredRow]) -> Iterator[str]:
    """Table of times: those of the base, the ratios to it with their intervals, and the agreement of the results."""
    names = list(dict.fromkeys(name for row in rows for name in row["seconds"] if name != row["base"]))
    names.sort(key=lambda name: (name == FLOOR, not name.startswith(OURS)))
    base = rows[0]["base"]
    yield f"| times faster than {base} | {base}, ms | " + " | ".join(names) + " | results agree to |"
    yield "|---" * (3 + len(names)) + "|"
    for row in rows:
        to_base = {r["of"]: r for r in row["ratios"] if r["to"] == row["base"]}
        cells = [_interval(to_base[name]) if name in to_base else "–" for name in names]
        apart = [f"{apart:.0e}" for what, apart, _ in row["agreements"] if "standard errors" not in what]
        agreed = max(apart, key=float) if apart else "their standard errors"
        yield f"| {row['title']} | {_number(1e3 * row['seconds'][row['base']])} | {' | '.join(cells)} | {agreed} |"


def _facts(rows: Sequence[StoredRow]) -> Iterator[str]:
    """Table of facts: a column for each fact if all rows have the same facts, else a line for each."""
    columns = [fact["what"] for fact in rows[0]["facts"]]
    if len(rows) > 1 and all([fact["what"] for fact in row["facts"]] == columns for row in rows):
        yield "| | " + " | ".join(columns) + " |"
        yield "|---" * (1 + len(columns)) + "|"
        yield from (f"| {row['title']} | {' | '.join(map(_fact, row['facts']))} |" for row in rows)
        return
    yield from ["| | | |", "|---|---|---|"]
    for row in rows:
        yield from (f"| {row['title']} | {fact['what']} | {_fact(fact)} |" for fact in row["facts"])


def _interval(ratio: dict[str, float]) -> str:
    return f"{_number(ratio['median'])}× ({_number(ratio['low'])}–{_number(ratio['high'])})"


def _fact(fact: dict[str, Any]) -> str:
    if fact["number"] is None:
        return str(fact["unit"])
    spread = "" if fact["spread"] is None else f" ({_number(fact['spread'][0])}–{_number(fact['spread'][1])})"
    return f"{_number(fact['number'])} {fact['unit']}{spread}".strip()


def _number(value: float) -> str:
    """Three digits, with commas between thousands."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


# --- the picture ------------------------------------------------------------------------------------------------------

PLAIN, FAST = "#0b3c5d", "#4aa3df"
MARKERS = {"JAX": "^", "folx": "v", "blackjax": "P", "ebmkit": "s", "normflows": "D", "torchebm": "*", "zuko": "h"}


def draw_picture(rows: dict[str, StoredRow], file: Path) -> None:
    """Draw one line for each row: the ratios of its variants to its base on a log axis, with targets as ticks."""
    from matplotlib.figure import Figure

    shown = [row for row in reversed(in_order(rows).values()) if row["seconds"] and row["base"] in row["seconds"]]
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    labels: dict[str, Any] = {}
    for y, row in enumerate(shown):
        for r in (r for r in row["ratios"] if r["to"] == row["base"]):
            _mark(axes, y, r, labels)
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set_yticks(range(len(shown)), [f"{row['title']} (1 = {row['base']})" for row in shown], fontsize=7)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.set_xlabel("times faster than the row's base\n(median of the rounds, 95 % interval)")
    axes.grid(axis="x", color="0.9", which="both", lw=0.5)
    axes.set_axisbelow(True)
    ordered = sorted(labels, key=lambda label: (not label.startswith(OURS), label.startswith("matrix"), label))
    figure.legend(
        [labels[label] for label in ordered], ordered, loc="outside lower center", ncols=5, fontsize=7, frameon=False
    )
    figure.savefig(file, dpi=130, metadata={"Software": None})


def _mark(axes: Any, y: int, r: dict[str, Any], labels: dict[str, Any]) -> None:
    """Draw a variant on the line of its row; `labels` collects one handle for each kind of variant."""
    name = r["of"]
    if name.startswith(OURS):
        fast = name.endswith(("native", "compiled"))
        colour = FAST if fast else PLAIN
        axes.plot([r["low"], r["high"]], [y, y], color=colour, lw=1.5)
        (dot,) = axes.plot(r["median"], y, "o", color=colour, ms=6, zorder=3)
        labels["ours, native or compiled" if fast else "ours"] = dot
        if r["target"] is not None:
            (tick,) = axes.plot(r["target"], y, "|", color=colour, ms=14, mew=1.5)
            labels["ours, native or compiled: target" if fast else "ours: target"] = tick
    elif name == FLOOR:
        labels["matrix products alone"] = axes.plot(r["median"], y, "x", color="0.6", ms=5)[0]
    else:
        library = name.replace(",", " ").split()[0]
        (mark,) = axes.plot(r["median"], y, MARKERS.get(library, "o"), mfc="none", mec="#b5532a", ms=5)
        labels[library] = mark
