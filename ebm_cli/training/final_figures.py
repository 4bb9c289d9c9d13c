"""How a run takes its leave: its pictures, and the name that it goes by."""

from pathlib import Path

import torch

from ebm_cli.evaluation.suite import Results
from ebm_cli.reporting import image_grids, plots
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.figure import save
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.runs import record
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.snapshots import Views


def draw(
    parts: Parts, views: Views, board: TensorBoard, samples: torch.Tensor | None, results: Results, run: Path, step: int
) -> dict[str, str]:
    """The pictures at the end, in RUN/figures and in TensorBoard: what each shows → where it is, as it is typed."""
    folder = run / "figures"
    folder.mkdir(exist_ok=True)
    views.histograms(board, step)
    figures = {"energies": plots.energies_figure(views.energies("test"))}
    if samples is not None:
        log_z = results.get("eval/log_z")
        figures["final"] = plots.final_figure(parts.energy, parts.dataset, samples, log_z, results)
        if image_grids.is_image(parts.dataset.shape):
            views.images(board, step, samples)
    for name, figure in figures.items():
        board.image(name, save(figure, folder / f"{name}.png"), step)
    named = {"final": "picture", "energies": "energies"}
    return {named[name]: relative_path(folder / f"{name}.png") for name in reversed(figures)}


def title(run: Path, step: int, seconds: float) -> str:
    """The method and the data set of the command that began the run: one that continues it names none."""
    choices = record.read(run).choices
    return f"{choices.get('method')} on {choices.get('dataset')}: {step:,} steps in {seconds:.0f} s"
