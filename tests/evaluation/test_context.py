"""The context of an evaluation: what is computed once, where chains start, and its streams of random numbers."""

from typing import Any

import pytest
import torch

from ebm_cli.datasets import Dataset, Digits, Gaussian, Synthetic
from ebm_cli.densities import Density
from ebm_cli.densities import Gaussian as FittedGaussian
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation import context as context_module
from ebm_cli.evaluation.context import N_START
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.methods.sm import SM
from tests.evaluation.toys import FunctionEnergy, small_context
from tests.support import seeded


@pytest.fixture
def anneals(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keyword arguments of each annealing."""
    anneal, calls = context_module.anneal, []

    def recorded(*arguments: Any, **keys: Any) -> Any:
        calls.append(keys)
        return anneal(*arguments, **keys)

    monkeypatch.setattr(context_module, "anneal", recorded)
    return calls


def plane(*metrics: str, **changes: Any) -> context_module.Context:
    return small_context(Quadratic((2,)), Synthetic(Gaussian(2)), *metrics, **changes)


def test_annealing_runs_once_and_when_it_is_asked_for(anneals: list[dict[str, Any]]) -> None:
    context = plane("chains")
    assert context.rows.shape == (40, 2)
    assert anneals == []
    assert context.annealed is context.annealed
    _ = context.drawn
    assert len(anneals) == 1


def test_annealing_that_fails_runs_once(anneals: list[dict[str, Any]]) -> None:
    infinite = FunctionEnergy(2, lambda x: x.square().sum(1) + torch.inf)
    context = small_context(infinite, Synthetic(Gaussian(2)), "samples")
    for _ in range(2):
        with pytest.raises(NotIntegrable, match="infinite at all"):
            _ = context.annealed
    assert len(anneals) == 1
    starts, notes = context._starts()
    assert notes == (f"chains start at noise, since annealing failed: {context._annealing}",)
    assert starts.shape == (20, 2)


@pytest.mark.parametrize(("init", "spread"), [("annealed", 0.1), ("noise", 2.0)])
def test_chains_start_at_the_model_or_at_wide_noise(init: str, spread: float) -> None:
    narrow = Quadratic((2,), precision=100.0)
    context = small_context(narrow, Synthetic(Gaussian(2)), "samples", init=init, n_chains=200, n_samples=200)
    starts, notes = context._starts()
    assert notes == ()
    assert float(starts.std()) == pytest.approx(spread, rel=0.2)


def test_annealing_for_starts_alone_is_short(anneals: list[dict[str, Any]]) -> None:
    _ = plane("chains", n_temperatures=1000).annealed
    _ = small_context(Quadratic((3,)), Synthetic(Gaussian(3)), n_temperatures=1000).annealed
    assert [keys["n_temperatures"] for keys in anneals] == [N_START, N_START]


def test_annealing_base_is_the_methods_proposal_if_asked_for() -> None:
    proposal = FittedGaussian(torch.randn(100, 2, generator=seeded()))

    class WithProposal(SM):  # type: ignore[misc]
        def proposal(self) -> Density:
            return proposal

    assert plane(base="method", method=WithProposal()).annealing_base is proposal
    for context in (plane(base="gaussian", method=WithProposal()), plane(base="method")):
        assert isinstance(context.annealing_base, FittedGaussian)
        assert context.annealing_base is not proposal


@pytest.mark.parametrize(
    ("data", "metrics", "is_sampling"),
    [
        (Synthetic(Gaussian(2)), ("density", "score", "features", "ood"), False),
        (Synthetic(Gaussian(2)), ("samples",), True),
        (Synthetic(Gaussian(2)), ("chains",), True),
        (Digits(), ("features",), True),
        (Digits(), ("density", "score", "ood"), False),
    ],
)
def test_samples_are_drawn_if_a_group_needs_them(data: Dataset, metrics: tuple[str, ...], is_sampling: bool) -> None:
    assert small_context(Quadratic(tuple(data.shape)), data, *metrics).is_sampling is is_sampling


def test_samples_exist_once_they_are_drawn() -> None:
    context = plane("samples", n_samples=30, n_chains=20)
    assert context.samples is None
    assert context.drawn.draws.shape == (2, 20, 2)
    assert context.samples is not None
    assert context.samples.shape == (30, 2)


def test_each_name_has_its_own_stream_of_random_numbers() -> None:
    context = plane("samples")
    a, again, b = (torch.rand(3, generator=context.rng(name)) for name in ("a", "a", "b"))
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
