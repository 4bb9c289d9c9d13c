"""Results as a table: grouped by the first word of the key, each with its reference and a verdict."""

import re

from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.evaluation.result_registry import companions, describe, verdict
from ebm_cli.evaluation.values import Value, Values, format_value
from ebm_cli.evaluation.verdicts import P_DIFFERS
from ebm_cli.reporting.narrow import Fitting

_P_VALUE = re.compile(r"\bp \d")
_TITLES = {
    "eval": "evaluation",
    "density": "rows",
    "sampler": "sampler",
    "cost": "cost",
    "train": "training",
}


def group_results(values: Values) -> dict[str, dict[str, Value]]:
    """The values by the first word of their key, known words first, in the order of the mapping otherwise."""
    grouped: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        grouped.setdefault(key.split("/")[0] if "/" in key else "", {})[key] = value
    order = [*(name for name in _TITLES if name in grouped), *(name for name in grouped if name not in _TITLES)]
    return {name: grouped[name] for name in order}


def results_table(values: Values, title: str | None = None) -> Fitting:
    """Key, value, unit, reference and verdict of every result, one section a group.

    A companion of another result (its null, its standard error) is shown in that one's reference, not in its own row.
    Where p-values have verdicts, the foot says their bound.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, collapse_padding=True)
    table.add_column("key", style="cyan", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    table.add_column("reference", style="dim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    hidden = companions(values)
    tested = False
    for name, group in group_results(values).items():
        table.add_section()
        table.add_row(f"[bold]{_TITLES.get(name, name)}[/bold]", "", "", "", "")
        for key, value in group.items():
            if key not in hidden:
                found = verdict(key, values)
                word = Text(found.word, style={True: "green", False: "yellow", None: ""}[found.good])
                label = f" {key.partition('/')[2] or key}"
                tested = tested or (
                    bool(_P_VALUE.search(found.reference)) and found.word in ("within noise", "differs")
                )
                table.add_row(label, format_value(value), describe(key).unit, found.reference, word)
    if tested:
        table.caption, table.caption_justify = f"A p-value above {P_DIFFERS} is within noise.", "left"
    return Fitting(table, words=(3, 4))
