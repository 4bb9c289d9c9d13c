"""Figures written at the end of a training run."""

from pathlib import Path

import torch

from ebm_cli.evaluation.values import Values, number
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.energies import energies_figure
from ebm_cli.reporting.figures.image_grids import is_image
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.snapshots import Snapshots


def draw(
    parts: Parts,
    snapshots: Snapshots,
    board: TensorBoard,
    samples: torch.Tensor | None,
    results: Values,
    run: Path,
    step: int,
) -> dict[str, str]:
    """Draw the final figures into RUN/figures and TensorBoard.

    Args:
        parts: what was trained.
        snapshots: for the energies of rows and noise.
        board: TensorBoard.
        samples: of the model [N, *shape], data units; None if there are none.
        results: of the final evaluation.
        run: run directory.
        step: of the weights.

    Returns:
        What a figure shows → its path, relative to the current folder.
    """
    folder = run / "figures"
    folder.mkdir(exist_ok=True)
    snapshots.write_histograms(board, step)
    figures = {"energies": energies_figure(snapshots.energies("test"))}
    if samples is not None:
        log_z = number(results, "eval/log_z")
        figures["final"] = final_figure(parts.energy, parts.dataset, samples, log_z, results)
        if is_image(parts.dataset.shape):
            snapshots.write_images(board, step, samples)
    for name, figure in figures.items():
        board.image(name, save(figure, folder / f"{name}.png"), step)
    names = {"final": "picture", "energies": "energies"}
    return {names[name]: relative_path(folder / f"{name}.png") for name in reversed(figures)}
