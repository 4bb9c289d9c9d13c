"""Replicas whose methods run chains: those of a run have its random numbers and its step size."""

import pytest
import torch

from ebm_cli.energies import Energy
from ebm_cli.methods import CD
from ebm_cli.replicas.step import JointStep
from tests.replicas.pairs import distance, forget_constant, trainers
from tests.support import differences

CHAINS = [
    ("method=cd", "sampler=mala", "sampler.step_size=20"),
    ("method=cd", "sampler=langevin", "method.k=2", "method.l2=0.1"),
    pytest.param(("method=cd", "sampler=hmc", "sampler.n_leapfrog=3", "method.start=noise"), marks=pytest.mark.slow),
    ("method=pcd", "method.buffer_size=300"),
    ("method=pcd", "method.buffer_size=300", "method.weights=jarzynski", "method.witnesses=20"),
]


@pytest.mark.parametrize("words", CHAINS)
def test_replicas_with_chains_equal_their_own_runs(words: tuple[str, ...]) -> None:
    """In float64: a Metropolis test that rounding decides would send a chain another way."""
    words = ("dtype=float64", "energy.base=1", *words)
    together, alone = trainers([3, 4], *words), trainers([3, 4], *words)
    joint = JointStep(together)
    for _ in range(20):
        found, own = joint(), [one.advance() for one in alone]
    forget_constant([*together, *alone])
    for ours, theirs, out, expected in zip(together, alone, found, own, strict=True):
        assert distance(ours, theirs) < 1e-9
        for key, value in {**expected.metrics, "loss": expected.loss.detach()}.items():
            assert float({**out.metrics, "loss": out.loss}[key]) == pytest.approx(float(value), rel=1e-7, abs=1e-8)
        assert out.evaluations == expected.evaluations
        state, reference = ours.state_dict(), theirs.state_dict()
        assert state["method"].keys() == reference["method"].keys()
        for name, value in reference["method"].items():
            if isinstance(value, torch.Tensor):
                assert (state["method"][name] - value).abs().max() < 1e-7, name
        for key in ("step", "rng", "batches", "schedules", "evaluations"):
            assert differences(state[key], reference[key]) == []
    # The control: neighbouring seeds are other runs.
    assert distance(together[0], alone[1]) > 0.1


def test_step_sizes_of_replicas_back_off_apart() -> None:
    together = trainers([3, 4], *CHAINS[0])
    joint = JointStep(together)
    for _ in range(11):
        joint()
    factors = {one.method.backoff.factor for one in together if isinstance(one.method, CD)}
    assert len(factors) == 2
    assert max(factors) < 1


def test_native_chains_of_replicas_run_in_turn() -> None:
    calls = []

    class Native:
        """Says that it has every kernel, and leaves the chains to torch."""

        def covers(self, *chains: object) -> bool:
            return True

        def run(self, kernel: object, energy: Energy, *rest: object) -> None:
            calls.append(energy)

    together, alone = trainers([3, 4], "method=cd"), trainers([3, 4], "method=cd")
    for one in together:
        one.energy.native = Native()
    joint = JointStep(together)
    for _ in range(3):
        joint()
        for one in alone:
            one.advance()
    assert calls == 3 * [one.energy for one in together]
    forget_constant([*together, *alone])
    for ours, theirs in zip(together, alone, strict=True):
        assert distance(ours, theirs) < 1e-5
