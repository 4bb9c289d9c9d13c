"""Results as a table: grouped by the first word of the key, each beside what it is held against, and a verdict."""

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.reporting.format import format_value
from ebm_cli.reporting.jsonl import Value
from ebm_cli.reporting.verdicts import attendants, verdict

_UNITS = {
    "eval/kl": "nats",
    "eval/nll": "nats",
    "eval/entropy": "nats",
    "eval/log_density_mse": "nats²",
    "eval/log_z": "nats",
    "eval/log_z_se": "nats",
    "eval/log_z_grid": "nats",
    "eval/log_z_learned": "nats",
    "eval/log_z_gap": "nats",
    "eval/flow_kl": "nats",
    "eval/flow_nll": "nats",
    "eval/fisher": "1/unit²",
    "eval/nll_vs_gaussian": "nats",
    "sampler/ess_per_second": "1/s",
    "cost/eval_seconds": "s",
    "cost/seconds": "s",
    "cost/peak_memory_mb": "MB",
    "cost/energy_evals": "a row",
    "cost/grad_evals": "a row",
    "cost/laplacian_evals": "a row",
}
_TITLES = {"eval": "evaluation", "sampler": "sampler", "cost": "cost", "train": "training"}


def unit(key: str) -> str:
    """The unit of a key of results.json; empty for a pure number."""
    return _UNITS.get(key, "")


def groups(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """The values by the first word of their key, known words first, in the order of the mapping otherwise."""
    grouped: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        grouped.setdefault(key.split("/")[0] if "/" in key else "", {})[key] = value
    order = [*(name for name in _TITLES if name in grouped), *(name for name in grouped if name not in _TITLES)]
    return {name: grouped[name] for name in order}


def results_table(values: Mapping[str, Value], title: str | None = None) -> Table:
    """Key, value, unit, reference and verdict of every result, one section a group.

    What is the reference of another result (its null, its standard error) has no row of its own.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, collapse_padding=True)
    table.add_column("key", style="cyan", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    table.add_column("reference", style="dim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    hidden = attendants(values)
    for name, group in groups(values).items():
        table.add_section()
        table.add_row(f"[bold]{_TITLES.get(name, name)}[/bold]", "", "", "", "")
        for key, value in group.items():
            if key not in hidden:
                said = verdict(key, values)
                word = Text(said.word, style={True: "green", False: "yellow", None: ""}[said.good])
                label = f" {key.partition('/')[2] or key}"
                table.add_row(label, format_value(value), unit(key), said.reference, word)
    return table
