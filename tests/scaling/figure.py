"""The picture of docs/concepts/scaling.md: what the model of a step says of many GPUs."""

from pathlib import Path

from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.chart import COLOURS, label_plainly, style_axes
from tests.scaling import model
from tests.scaling.model import Machine

GPUS = tuple(2**i for i in range(14))
"""Numbers of GPUs, up to 8,192."""
SHOWN = {"nce": "nce, cnce, dsm", "ssm": "ssm", "ed": "ed", "cd": "cd, k = 5", "sm": "sm"}
"""Methods that differ, and their labels: fce is where nce is, to a hundredth."""


def draw(file: Path, dim: int, n_parameters: int, batch: int, many: int, machine: Machine) -> None:
    """Draw how many times faster p GPUs are, and what rows on each of `many` GPUs make of them.

    Args:
        file: the picture.
        dim: dimensions of the data.
        n_parameters: of the energy.
        batch: rows of a step, which the GPUs of the left panel share.
        many: GPUs of the right panel.
        machine: assumptions.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.9), layout="constrained")
    faster, busy = figure.subplots(1, 2)
    rows = [2**i for i in range(15)]
    methods = model.methods(dim)
    for colour, (name, label) in zip(COLOURS, SHOWN.items(), strict=False):
        method = methods[name]
        one = model.step(method, 1, batch, n_parameters, machine)
        times = [one / model.step(method, p, batch / p, n_parameters, machine) for p in GPUS]
        share = [100 * model.computing(method, many, b, n_parameters, machine) for b in rows]
        faster.plot(GPUS, times, color=colour, label=label)
        busy.plot(rows, share, color=colour)
    faster.plot(GPUS, GPUS, color="0.6", ls="--", lw=1, label="p GPUs, p times")
    faster.set_xscale("log")
    faster.set_yscale("log")
    busy.set_xscale("log")
    busy.set_ylim(0, 103)
    style_axes(faster, f"One batch of {batch:,} rows, shared", "GPUs", "times faster than one")
    style_axes(busy, f"{many:,} GPUs", "rows on each of them", "share of a step that computes, %")
    label_plainly(faster, (1, 10, 100, 1000), (1, 10, 100, 1000))
    label_plainly(busy, (1, 10, 100, 1000, 10_000))
    save(figure, file)
