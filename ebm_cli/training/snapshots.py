"""What there is to see of a model while it trains: energies of rows, and images.

Three histograms of energies make the picture of overfitting: those of training rows, of rows that training never saw,
and of noise, the Gaussian fitted to the data. A model that has learnt its rows by heart gives them a lower energy than
it gives the validation rows; one that has learnt nothing gives noise the same.
"""

import torch
from torch import Tensor

from ebm_cli.datasets import UnseenPart
from ebm_cli.densities import Gaussian
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.reporting import image_grids
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts
from ebm_cli.samplers import Kernel, adapt, run

N_ROWS = 1000
"""Rows of each kind, at most."""
N_STEPS = 30
"""Steps of the chains between two looks: a tenth of a second on small images."""
N_CHAINS = image_grids.NEIGHBOURS * image_grids.COLUMNS


class Views:
    """Views of one model; its chains go on from look to look.

    They are begun at noise and carried on by the evaluation's kernel, so that they show what the energy says, whatever
    the method trains with. They are no part of a checkpoint: a run that is continued begins them anew.

    Args:
        parts: what is trained.
        kernel: the transition of the evaluation's chains.
        seed: of everything that is random here; no other stream is touched.
    """

    def __init__(self, parts: Parts, kernel: Kernel, seed: int) -> None:
        self.parts, self.kernel = parts, kernel
        device = parts.dataset.standardizer.device
        self._rng = generator(seed, "views", device)
        noise = Gaussian(parts.dataset.reference)
        self._noise = noise.sample(N_ROWS, generator(seed, "views/noise", device))
        self._chains = noise.sample(N_CHAINS, self._rng)

    def energies(self, part: UnseenPart) -> dict[str, Tensor]:
        """f [N], nats, of training rows, of rows of this part, and of noise."""
        dataset = self.parts.dataset
        with torch.no_grad():
            rows = dataset.standardised_rows(part, N_ROWS)
            sets = {"train": dataset.reference[:N_ROWS], part: rows, "noise": self._noise}
            return {name: in_chunks(self.parts.energy, u) for name, u in sets.items()}

    def look(self, board: TensorBoard, step: int) -> None:
        """Write the histograms, and of images the pictures, for the weights that are in the energy now.

        Cost: the energies of 3 N_ROWS rows; of images N_STEPS steps of N_CHAINS chains as well.
        """
        energy = self.parts.energy
        training = energy.training
        energy.eval()
        self.histograms(board, step)
        if image_grids.is_image(self.parts.dataset.shape):
            self._go_on()
            self.images(board, step, self.parts.dataset.standardizer.to_data_units(self._chains))
        energy.train(training)

    def histograms(self, board: TensorBoard, step: int) -> None:
        """Of the energies of training rows, validation rows and noise."""
        for name, f in self.energies("validation").items():
            board.histogram(f"energy/{name}", f, step)

    def images(self, board: TensorBoard, step: int, samples: Tensor) -> None:
        """Grids of samples [N, *shape], data units, alone and above their nearest training rows, and of the replay
        buffer where there is one."""
        dataset, replay = self.parts.dataset, self.parts.method.replay()
        rows = dataset.standardizer.to_data_units(dataset.reference)
        low, high = float(rows.min()), float(rows.max())
        shown = samples[:N_CHAINS]
        neighbours = image_grids.nearest_training_rows(shown, dataset)
        drawn = {"samples": shown, "nearest_training_rows": image_grids.above(shown, neighbours.to(shown))}
        if replay is not None:
            drawn["replay_buffer"] = dataset.standardizer.to_data_units(replay[: image_grids.COLUMNS**2])
        for name, x in drawn.items():
            board.image(f"images/{name}", image_grids.tiles(x, low, high), step)

    def _go_on(self) -> None:
        energy = self.parts.energy
        if self.kernel.target_accept is None:
            x = run(self.kernel, energy, self._chains, N_STEPS, self._rng)[0].x
        else:
            x = adapt(self.kernel, energy, self._chains, N_STEPS, self._rng)[1].x
        alive = x.flatten(1).isfinite().all(1).view(-1, *[1] * (x.ndim - 1))
        self._chains = torch.where(alive, x.detach(), self._noise[: len(x)])
