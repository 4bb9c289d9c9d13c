"""The metric group `chains`: diagnostics of the sampling chains, and the temperature of a method's own chains."""

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies import Energy
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.groups.chains import N_SHORT
from ebm_cli.methods.sm import SM
from tests.evaluation.toys import small_evaluation

DIAGNOSTICS = {f"sampler/{name}" for name in ("acceptance", "step_size", "ess_per_grad", "ess_per_second")}
DIAGNOSTICS |= {
    f"sampler/{name}" for name in ("rhat", "separation", "ess_bulk", "ess_tail", "acceptance_low", "acceptance_high")
}
DIAGNOSTICS |= {
    f"sampler/{name}" for name in ("never_moved", "n_chains", "non_finite", "n_draws", "n_steps", "drawn_by")
}
DIAGNOSTICS |= {f"sampler/{name}" for name in ("virial", "virial_se", "virial_exact")}


class Shrinking(SM):  # type: ignore[misc]
    """A method whose negative samples are held-out rows, drawn together by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.sizes = factor, list[int]()

    def negatives(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        self.sizes.append(len(x))
        return self.factor * x


def test_chains_report_their_diagnostics() -> None:
    found = small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), "chains", n_samples=200).results.values
    assert set(found) == DIAGNOSTICS


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_temperature_is_that_of_the_methods_chains(factor: float) -> None:
    method = Shrinking(factor)
    data = Synthetic(Gaussian(2))
    found = small_evaluation(Quadratic((2,)), data, "chains", method=method, n_samples=500).results.values
    error = found["eval/chain_temperature_se"]
    assert found["eval/chain_temperature"] == pytest.approx(factor**2, abs=6 * error)


@pytest.mark.parametrize(("batch_size", "n_samples", "size"), [(16, 40, 16), (64, 40, 40), (3000, 4000, 3000)])
def test_temperature_takes_batches_of_the_runs_size(batch_size: int, n_samples: int, size: int) -> None:
    method = Shrinking()
    sizes = {"batch_size": batch_size, "n_samples": n_samples}
    small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), "chains", method=method, **sizes)
    assert set(method.sizes) == {size}
    assert N_SHORT <= sum(method.sizes) < N_SHORT + size or method.sizes == [size]


def test_a_method_without_chains_has_no_temperature() -> None:
    found = small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), "chains").results
    assert not any("temperature" in key for key in (*found.values, *found.absent))


def test_an_energy_without_curvature_has_a_reason() -> None:
    flat = MLP((2,), width=4, activation="relu")
    found = small_evaluation(flat, Synthetic(Gaussian(2)), "chains", method=Shrinking(), init="noise").results
    reason = "the energy has no positive mean curvature at the chains' ends"
    assert found.absent["eval/chain_temperature"] == reason
