"""Figures written at the end of a training run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ebm_cli.evaluation.values import Values, number
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.energies import energies_figure
from ebm_cli.reporting.figures.image_grids import is_image
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.snapshots import Snapshots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    parts: Parts,
    snapshots: Snapshots,
    board: TensorBoard,
    samples: torch.Tensor | None,
    results: Values,
    run: Path,
    step: int,
    notes: list[str],
) -> dict[str, str]:
    """Draw the final figures into RUN/figures and TensorBoard; one that fails costs a sentence alone.

    Args:
        parts: what was trained.
        snapshots: for the energies of rows and noise.
        board: TensorBoard.
        samples: of the model [N, *shape], data units; None if there are none.
        results: of the final evaluation.
        run: run directory.
        step: of the weights.
        notes: gets a sentence for each figure that is missing.

    Returns:
        What a figure shows → its path, relative to the current folder.
    """
    places: dict[str, str] = {}

    def write(label: str, name: str, make: "Callable[[], Figure]") -> None:
        file = run / "figures" / f"{name}.png"
        with optional(f"{label}: {relative_path(file)}", notes):
            file.parent.mkdir(exist_ok=True)
            pixels = save(make(), file)
            places[label] = relative_path(file)
            board.image(name, pixels, step)

    if samples is not None:
        log_z = number(results, "eval/log_z")
        write("picture", "final", lambda: final_figure(parts.energy, parts.dataset, samples, log_z, results))
        if is_image(parts.dataset.shape):
            with optional("images of the samples in TensorBoard", notes):
                snapshots.write_images(board, step, samples)
    write("energies", "energies", lambda: energies_figure(snapshots.energies("test")))
    with optional("histograms of the energies in TensorBoard", notes):
        snapshots.write_histograms(board, step)
    return places
