"""A comparison as text: tables for the terminal that fit its width, CSV with every digit, LaTeX."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.comparison.columns import Column
from ebm_cli.comparison.groups import DATASET, Comparison, Group, Section
from ebm_cli.comparison.settings import MISSING
from ebm_cli.evaluation.values import format_value

REFERENCE_ROW = "the data"
"""Name of the row of `Section.references`."""


class Cell(NamedTuple):
    """A group's value in a column: mean and sd as text, runs of the group that lack the result, whether it is best."""

    mean: str
    sd: str = ""
    n_lacking: int = 0
    is_best: bool = False


def cell(section: Section, group: Group, column: Column) -> Cell:
    """The cell of a group; a dash where no run has the result."""
    spread = group.spreads.get(column.key)
    if spread is None:
        return Cell(MISSING)
    is_best = group.names in section.best.get(column.key, ())
    parts = spread.cost_parts(column.result.unit) if column.is_cost else spread.parts()
    return Cell(*parts, len(group.records) - spread.n, is_best)


def name_heads(comparison: Comparison) -> list[str]:
    """The heads of the columns that name a group: without the data set, which names the section."""
    return list(comparison.rows) or ["group"]


def names(comparison: Comparison, group: Group) -> list[str]:
    """The group's names below `name_heads`."""
    return [name for key, name in zip(comparison.by, group.shown, strict=True) if key != DATASET] or [group.label]


def console_tables(comparison: Comparison, width: int) -> Iterator[tuple[Table, list[Column]]]:
    """A table for each section, with the columns that did not fit into `width` characters."""
    for section in comparison.sections:
        shown = _fitting(comparison, section, width)
        left_out = [column for column in section.present(comparison.columns) if column not in shown]
        yield _console_table(comparison, section, shown), left_out


def _cell_text(section: Section, group: Group, column: Column) -> str:
    found = cell(section, group, column)
    n = f" (n={len(group.records) - found.n_lacking})" if found.n_lacking else ""
    return " ± ".join(part for part in (found.mean, found.sd) if part) + n


def _fitting(comparison: Comparison, section: Section, width: int) -> list[Column]:
    """The columns that fit: the one that ranks, the first costs, the other qualities, the other costs."""
    first = [c for c in (section.ranking,) if c is not None] + [c for c in comparison.costs if c.result.headline]
    order = section.present(dict.fromkeys((*first, *comparison.columns)))
    wide = Console(width=10_000)
    fitting: list[Column] = []
    for column in order:
        more = [*fitting, column]
        if column is section.ranking or wide.measure(_console_table(comparison, section, more)).maximum <= width:
            fitting = more
    return [column for column in comparison.columns if column in fitting]


def _console_table(comparison: Comparison, section: Section, shown: Sequence[Column]) -> Table:
    table = Table(title=Text(section.name), title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    for head in name_heads(comparison):
        table.add_column(head, no_wrap=True)
    table.add_column("n", justify="right", style="dim")
    for column in shown:
        style = "cyan" if column in comparison.costs else ""
        table.add_column(Text(column.label), justify="right", no_wrap=True, style=style)
    for group in section.groups:
        cells = [
            Text(_cell_text(section, group, c), style="bold" if cell(section, group, c).is_best else "") for c in shown
        ]
        table.add_row(*map(Text, names(comparison, group)), str(len(group.records)), *cells)
    if section.references:
        blank = [""] * (len(name_heads(comparison)) - 1)
        references = [format_value(section.references.get(c.key)) if c in comparison.qualities else "" for c in shown]
        table.add_section()
        table.add_row(Text(REFERENCE_ROW), *blank, "", *references, style="dim")
    return table


def to_csv(comparison: Comparison) -> str:
    """One line a group: its keys, how many runs, and for each result its mean, `… sd` and `… n`, with every digit.

    An unknown value is an empty cell.
    """
    columns = [head for c in comparison.columns for head in (c.key, f"{c.key} sd", f"{c.key} n")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*comparison.by, "n", *columns])
    for group in comparison.groups:
        cells: list[str] = []
        for column in comparison.columns:
            spread = group.spreads.get(column.key)
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


def escape_tex(text: str) -> str:
    """The text in LaTeX, on one line."""
    return "".join(_TEX.get(c, c) for c in " ".join(text.split()))


def to_tex(comparison: Comparison) -> str:
    """A tabular for `\\input`, in the rules of booktabs where the document loads it, else in plain ones."""
    n_heads = len(name_heads(comparison)) + 1
    columns = comparison.columns
    lines = [
        *(rf"\providecommand{{\{rule}}}{{\hline}}" for rule in ("toprule", "midrule", "bottomrule")),
        rf"\begin{{tabular}}{{{'l' * (n_heads - 1)}r{'r' * len(columns)}}}",
        r"\toprule",
        _tex_row([*map(escape_tex, name_heads(comparison)), "$n$", *(escape_tex(c.label) for c in columns)]),
    ]
    for section in comparison.sections:
        lines.append(r"\midrule")
        if section.name:
            lines.append(rf"\multicolumn{{{n_heads + len(columns)}}}{{l}}{{\textit{{{escape_tex(section.name)}}}}} \\")
        for group in section.groups:
            cells = []
            for column in columns:
                text = escape_tex(_cell_text(section, group, column))
                cells.append(rf"\textbf{{{text}}}" if cell(section, group, column).is_best else text)
            lines.append(_tex_row([*map(escape_tex, names(comparison, group)), str(len(group.records)), *cells]))
        if section.references:
            references = [escape_tex(format_value(section.references.get(c.key))) for c in comparison.qualities]
            lead = rf"\multicolumn{{{n_heads}}}{{l}}{{{REFERENCE_ROW}}}"
            lines.append(_tex_row([lead, *references, *[""] * len(comparison.costs)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
