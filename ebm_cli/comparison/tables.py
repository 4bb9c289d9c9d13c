"""A comparison as text: tables for the terminal that fit its width, CSV with every digit, LaTeX."""

import csv
import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.comparison.columns import Measure
from ebm_cli.comparison.groups import DATASET, MISSING, Comparison, Group, Section
from ebm_cli.reporting.format import format_value

IN_FRONT = ("cost/seconds", "cost/grad_evals")
"""The costs that a narrow terminal shows; the others come when there is room for all of the quality."""
FLOOR = "the data"
"""What the row of `Section.floors` is called."""


def heads(comparison: Comparison) -> list[str]:
    """The heads of the columns that name a group: without the data set, which names the section."""
    return list(comparison.rows) or ["group"]


def names(comparison: Comparison, group: Group) -> list[str]:
    """What stands under `heads`."""
    return [name for key, name in zip(comparison.by, group.names, strict=True) if key != DATASET] or [group.label]


def cell(section: Section, group: Group, measure: Measure) -> tuple[str, str, int, bool]:
    """Mean, sd, how many runs of the group lack the result, and whether it is the best; a dash for no mean."""
    spread = group.spreads.get(measure.key)
    if spread is None:
        return MISSING, "", 0, False
    best = group.names in section.best.get(measure.key, ())
    return *spread.parts(), len(group.records) - spread.n, best


def console_tables(comparison: Comparison, width: int) -> Iterator[tuple[Table, list[Measure]]]:
    """A table for each section, with the measures that did not fit into `width` characters."""
    for section in comparison.sections:
        shown = _fitting(comparison, section, width)
        left_out = [measure for measure in section.shown(comparison.columns) if measure not in shown]
        yield _console_table(comparison, section, shown), left_out


def _said(section: Section, group: Group, measure: Measure) -> str:
    mean, sd, lacking, _ = cell(section, group, measure)
    return " ± ".join(part for part in (mean, sd) if part) + (f" (n={len(group.records) - lacking})" if lacking else "")


def _fitting(comparison: Comparison, section: Section, width: int) -> list[Measure]:
    """The columns for which there is room: the judge, the first costs, the other qualities, the other costs."""
    first = [m for m in (section.judge,) if m is not None] + [m for m in comparison.costs if m.key in IN_FRONT]
    order = section.shown(dict.fromkeys((*first, *comparison.columns)))
    wide = Console(width=10_000)
    fitting: list[Measure] = []
    for measure in order:
        more = [*fitting, measure]
        if measure is section.judge or wide.measure(_console_table(comparison, section, more)).maximum <= width:
            fitting = more
    return [measure for measure in comparison.columns if measure in fitting]


def _console_table(comparison: Comparison, section: Section, shown: Sequence[Measure]) -> Table:
    table = Table(title=Text(section.name), title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    for head in heads(comparison):
        table.add_column(head, no_wrap=True)
    table.add_column("n", justify="right", style="dim")
    for measure in shown:
        style = "cyan" if measure in comparison.costs else ""
        table.add_column(Text(measure.label), justify="right", no_wrap=True, style=style)
    for group in section.groups:
        cells = [Text(_said(section, group, m), style="bold" * cell(section, group, m)[3]) for m in shown]
        table.add_row(*map(Text, names(comparison, group)), str(len(group.records)), *cells)
    if section.floors:
        blank = [""] * (len(heads(comparison)) - 1)
        floors = [format_value(section.floors.get(m.key)) if m in comparison.qualities else "" for m in shown]
        table.add_section()
        table.add_row(Text(FLOOR), *blank, "", *floors, style="dim")
    return table


def to_csv(comparison: Comparison) -> str:
    """One line a group: its keys, how many runs, and for each result its mean, `… sd` and `… n`, with every digit.

    What is not known is empty.
    """
    columns = [column for m in comparison.columns for column in (m.key, f"{m.key} sd", f"{m.key} n")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*comparison.by, "n", *columns])
    for group in comparison.groups:
        cells: list[str] = []
        for measure in comparison.columns:
            spread = group.spreads.get(measure.key)
            cells += ["", "", "0"] if spread is None else ["" if v is None else repr(v) for v in spread]
        writer.writerow([*group.names, len(group.records), *cells])
    return out.getvalue()


_TEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "∇": r"$\nabla$",
    "Δ": r"$\Delta$",
    MISSING: "--",
}


def tex(text: str) -> str:
    """The text as LaTeX sets it, on one line."""
    return "".join(_TEX.get(c, c) for c in " ".join(text.split()))


def to_tex(comparison: Comparison) -> str:
    """A tabular for `\\input`, in the rules of booktabs where the document loads it, and in plain ones where not."""
    n_heads = len(heads(comparison)) + 1
    columns = comparison.columns
    lines = [
        *(rf"\providecommand{{\{rule}}}{{\hline}}" for rule in ("toprule", "midrule", "bottomrule")),
        rf"\begin{{tabular}}{{{'l' * (n_heads - 1)}r{'r' * len(columns)}}}",
        r"\toprule",
        _row([*map(tex, heads(comparison)), "$n$", *(tex(m.label) for m in columns)]),
    ]
    for section in comparison.sections:
        lines.append(r"\midrule")
        if section.name:
            lines.append(rf"\multicolumn{{{n_heads + len(columns)}}}{{l}}{{\textit{{{tex(section.name)}}}}} \\")
        for group in section.groups:
            cells = []
            for measure in columns:
                said = tex(_said(section, group, measure))
                cells.append(rf"\textbf{{{said}}}" if cell(section, group, measure)[3] else said)
            lines.append(_row([*map(tex, names(comparison, group)), str(len(group.records)), *cells]))
        if section.floors:
            floors = [tex(format_value(section.floors.get(m.key))) for m in comparison.qualities]
            lead = rf"\multicolumn{{{n_heads}}}{{l}}{{{FLOOR}}}"
            lines.append(_row([lead, *floors, *[""] * len(comparison.costs)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
