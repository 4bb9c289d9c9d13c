"""Snapshots of the model in TensorBoard during training: histograms of energies, and of images grids of samples.

The three histograms of energies show overfitting: they are those of training rows, of rows that training never saw, and
of noise, the Gaussian fitted to the data. A model that has memorised its training rows gives them a lower energy than
the validation rows; one that has learnt nothing gives noise the same energy.
"""

import torch
from torch import Tensor

from ebm_cli.datasets import UnseenPart
from ebm_cli.densities import Gaussian
from ebm_cli.energies import evaluating
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.reporting.figures import image_grids
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts
from ebm_cli.samplers import Kernel, replace_diverged, warm_up

N_ROWS = 1000
"""Rows of each kind, at most."""
N_STEPS = 30
"""Steps of the chains between two snapshots: a tenth of a second on small images."""
N_CHAINS = image_grids.NEIGHBOURS * image_grids.COLUMNS


class Snapshots:
    """Snapshots of one model; its chains continue from one to the next.

    The chains start at noise and move by the evaluation's kernel, so that they show the energy itself, whatever the
    method trains with. They are no part of a checkpoint: a resumed run starts them anew.

    Args:
        parts: what is trained.
        kernel: transition of the evaluation's chains.
        seed: of everything that is random here; no other stream is used.
    """

    def __init__(self, parts: Parts, kernel: Kernel, seed: int) -> None:
        self.parts, self.kernel = parts, kernel
        device = parts.dataset.standardizer.device
        self._rng = generator(seed, "views", device)
        noise = Gaussian(parts.dataset.reference)
        self._noise = noise.sample(N_ROWS, generator(seed, "views/noise", device))
        self._chains = noise.sample(N_CHAINS, self._rng)

    def energies(self, part: UnseenPart) -> dict[str, Tensor]:
        """Energies [N], nats, of training rows, of rows of this part, and of noise."""
        dataset = self.parts.dataset
        with torch.no_grad():
            rows = dataset.standardised_rows(part, N_ROWS)
            sets = {"train": dataset.reference[:N_ROWS], part: rows, "noise": self._noise}
            return {name: in_chunks(self.parts.energy, u) for name, u in sets.items()}

    def write(self, board: TensorBoard, step: int) -> list[str]:
        """Write histograms, and for images grids of samples, of the weights that are in the energy now.

        Returns a sentence if they cannot be written; training does not depend on them.

        Cost: the energies of 3 N_ROWS rows; for images also N_STEPS steps of N_CHAINS chains.
        """
        notes: list[str] = []
        with optional("the snapshot in TensorBoard", notes), evaluating(self.parts.energy):
            self.write_histograms(board, step)
            if image_grids.is_image(self.parts.dataset.shape):
                self._advance_chains()
                self.write_images(board, step, self.parts.dataset.standardizer.to_data_units(self._chains))
        return notes

    def write_histograms(self, board: TensorBoard, step: int) -> None:
        """Write histograms of the energies of training rows, validation rows and noise."""
        for name, f in self.energies("validation").items():
            board.histogram(f"energy/{name}", f, step)

    def write_images(self, board: TensorBoard, step: int, samples: Tensor) -> None:
        """Write grids of samples [N, *shape], in data units, alone and above their nearest training rows, and of the
        replay buffer if there is one."""
        dataset, replay = self.parts.dataset, self.parts.method.persistent_chains()
        rows = dataset.standardizer.to_data_units(dataset.reference)
        low, high = float(rows.min()), float(rows.max())
        shown = samples[:N_CHAINS]
        neighbours = image_grids.nearest_training_rows(shown, dataset)
        grids = {"samples": shown, "nearest_training_rows": image_grids.interleave_rows(shown, neighbours.to(shown))}
        if replay is not None:
            grids["replay_buffer"] = dataset.standardizer.to_data_units(replay[: image_grids.COLUMNS**2])
        for name, x in grids.items():
            board.image(f"images/{name}", image_grids.tile_images(x, low, high), step)

    def _advance_chains(self) -> None:
        x = warm_up(self.kernel, self.parts.energy, self._chains, N_STEPS, self._rng)[1].x
        self._chains, _ = replace_diverged(x.detach(), self._noise[: len(x)])
