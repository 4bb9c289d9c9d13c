"""Results as a table: grouped by the first word of the key, four significant digits, with the unit."""

from collections.abc import Mapping

from rich import box
from rich.table import Table

from ebm_cli.reporting.jsonl import Value

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


def format_value(value: Value) -> str:
    """Four significant digits; plain decimals from 0.0001 to 10 million, powers of ten beyond; a dash for no value."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    if abs(value) >= 999.95:  # rounds to four digits before the point
        return f"{value:,.0f}".replace(",", " ")
    text = f"{value:#.4g}"
    return text if "e" not in text else f"{value:.4g}"


def groups(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """The values by the first word of their key, known words first, in the order of the mapping otherwise."""
    grouped: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        grouped.setdefault(key.split("/")[0] if "/" in key else "", {})[key] = value
    order = [*(name for name in _TITLES if name in grouped), *(name for name in grouped if name not in _TITLES)]
    return {name: grouped[name] for name in order}


def results_table(values: Mapping[str, Value], title: str | None = None) -> Table:
    """Key, value and unit of every result, one section a group."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column("key", style="cyan", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    for name, group in groups(values).items():
        table.add_section()
        table.add_row(f"[bold]{_TITLES.get(name, name)}[/bold]", "", "")
        for key, value in group.items():
            table.add_row(f"  {key.partition('/')[2] or key}", format_value(value), unit(key))
    return table
