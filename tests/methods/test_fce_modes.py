"""Mode weights that flow contrastive estimation learns from files of separate modes, by the shipped defaults."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ebm_cli.runs.model import Model, load
from tests.support import Ebm, no_pictures, seeded


class Modes(NamedTuple):
    """Σ_k w_k N(m_k, A_k A_kᵀ): weights [K], means [K, D], factors [K, D, D]."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def draw(self, n: int, seed: int) -> Tensor:
        """Draw n rows [n, D]."""
        rng = seeded(seed)
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], 1, generator=rng, dtype=self.means.dtype)
        return self.means[k] + (self.factors[k] @ z).squeeze(-1)

    def of(self, x: Tensor) -> Tensor:
        """The probabilities that points [B, D] are of each mode [B, K]; their mean under the mixture is w."""
        z = torch.linalg.solve(self.factors, (x.unsqueeze(1) - self.means).unsqueeze(-1)).squeeze(-1)
        log_det = torch.linalg.slogdet(self.factors).logabsdet
        return (self.weights.log() - log_det - 0.5 * z.square().sum(-1)).softmax(1)


def two_in_the_plane() -> Modes:
    eye = torch.eye(2, dtype=torch.float64)
    return Modes(torch.tensor([0.85, 0.15]).double(), torch.stack((4 * eye[0], -4 * eye[0])), torch.stack((eye, eye)))


def four_in_twelve_dimensions() -> Modes:
    """Correlated modes with axes of 0.4 to 1.3, six to eleven units apart."""
    rng = seeded(99)
    means = 2 * torch.randn(4, 12, generator=rng, dtype=torch.float64)
    rotations = torch.linalg.qr(torch.randn(4, 12, 12, generator=rng, dtype=torch.float64)).Q
    axes = 0.4 + 0.9 * torch.rand(4, 1, 12, generator=rng, dtype=torch.float64)
    return Modes(torch.tensor([0.1, 0.2, 0.3, 0.4]).double(), means, rotations * axes)


TWINS = {"plane": two_in_the_plane, "twelve": four_in_twelve_dimensions}


def train(ebm: Ebm, modes: Modes, seed: int, *words: str) -> None:
    """`ebm train method=fce` on 30,000 rows of a csv."""
    rows = modes.draw(30_000, seed)
    lines = (",".join(f"{value:.6f}" for value in row) for row in rows.tolist())
    Path("rows.csv").write_text("\n".join([",".join(f"x{i}" for i in range(rows.shape[1])), *lines]) + "\n")
    data = ("dataset=file", "dataset.path=rows.csv", "metrics=[density]", "threads=1")
    assert ebm("train", "method=fce", *data, f"seed={seed}", "hydra.run.dir=run", *words).code == 0


def weights_of(model: Model, modes: Modes) -> tuple[Tensor, Tensor]:
    """Mode weights [K] of the energy, by importance sampling from its reference, and of the flow, by its samples."""
    flow, q = model.parts().method.densities()["flow"], model.energy.reference
    assert q is not None
    with torch.no_grad():
        x, log_q = q.sample_with_log_prob(50_000, seeded(1))
        w = (-model.energy(x) - log_q).double().softmax(0)
        of_energy = w @ modes.of(model.standardizer.inverse(x).double())
        of_flow = modes.of(model.standardizer.inverse(flow.sample(50_000, seeded(2))).double()).mean(0)
    # The weights of the energy are then known within 0.01.
    assert float(1 / w.square().sum()) > 2_500
    return of_energy, of_flow


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", TWINS)
def test_weights_of_energy_and_flow_are_within_002(
    ebm: Ebm, monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    no_pictures(monkeypatch)
    modes = TWINS[name]()
    train(ebm, modes, seed)
    for found in weights_of(load("run", "best"), modes):
        torch.testing.assert_close(found, modes.weights, rtol=0, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_kept_share_keeps_a_mode_that_the_flow_leaves(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, kept: float) -> None:
    """From a single Gaussian the flow moves onto the heavier mode; without noise on the other, the energy loses it."""
    no_pictures(monkeypatch)
    modes = two_in_the_plane()
    single = ("energy.reference=gaussian", "noise.reference.family=gaussian", "noise.reference.marginals=none")
    train(ebm, modes, 0, *single, f"noise.kept={kept}", "patience=null", "steps=3000")
    # Without noise on one mode the best checkpoint is that of step 0, which is the Gaussian.
    of_energy, _ = weights_of(load("run", "last"), modes)
    lighter = float(of_energy[1])
    assert lighter > 0.1 if kept else lighter < 0.01
