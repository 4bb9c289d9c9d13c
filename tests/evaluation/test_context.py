"""The context of an evaluation: what is computed once, where chains start, and its streams of random numbers."""

import math
from typing import Any

import pytest
import torch

from ebm_cli.datasets import Dataset, Digits, Gaussian, Synthetic
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities import Density
from ebm_cli.densities import Gaussian as FittedGaussian
from ebm_cli.energies import Energy
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation import context as context_module
from ebm_cli.evaluation.context import N_START
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.methods.sm import SM
from tests.evaluation.toys import LOG_2PI, Bent, Bumps, BumpsDensity, FunctionEnergy, Rows, small_context
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
    assert notes == (f"chains start at noise, since annealing failed: {context._annealings[20]}",)
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


# --- log Z where the protocol leaves the choice open ------------------------------------------------------------------


def apart(dim: int, weights: tuple[float, float]) -> Bumps:
    """Two modes of unit width, eight apart."""
    means = torch.zeros(2, dim)
    means[:, 0] = torch.tensor([-4.0, 4.0])
    return Bumps(means, 1.0, torch.tensor(weights))


def of_modes(energy: Energy, data: Bumps, seed: int = 0, **changes: Any) -> context_module.Context:
    """The context of an energy on 2,000 rows of two modes, in their own units."""
    rows = Rows(data.sample(2000, seeded(9)))
    rows.standardizer = Standardizer(rows.shape)
    sizes = {"base": "auto", "seed": seed, "n_chains": 100, "n_samples": 100, "n_temperatures": 100, **changes}
    return small_context(energy, rows, "density", **sizes)


@pytest.mark.parametrize("bent", [True, False])
def test_log_z_of_two_modes_is_sampled_within_hundredths(bent: bool) -> None:
    """By an energy with a reference, and by one without: modes of 0.8 and 0.2 whose data have 0.7 and 0.3."""
    data, model = apart(3, (0.7, 0.3)), apart(3, (0.8, 0.2))
    q = BumpsDensity(data)
    context = of_modes(Bent(q, lambda x: model(x) + q.log_prob(x)) if bent else FunctionEnergy(3, model), data)
    found = context.normalisation
    assert found.log_z is not None
    assert found.results.values["eval/log_z_method"] == "importance"
    assert found.se <= 0.003
    assert abs(found.log_z) < 4 * found.se


def test_a_mode_of_the_model_that_no_row_has_is_not_lost() -> None:
    """The data are of one mode; a proposal fitted to them alone would miss a third of Z."""
    data = Bumps(torch.zeros(1, 4), 1.0)
    model = Bumps(torch.tensor([[0.0] * 4, [6.0, 0, 0, 0]]), torch.tensor([1.0, 0.5]), torch.tensor([0.7, 0.3]))
    context = of_modes(FunctionEnergy(4, model), data)
    found = context.normalisation
    assert found.log_z is not None
    assert abs(found.log_z) < max(4 * found.se, 0.02)
    # The control: without annealed points nothing shows that the mode is missing.
    rows = context.dataset.reference
    blind = context._weigh(FittedGaussian(rows), [rows])
    assert blind.doubt is None
    assert blind.log_z == pytest.approx(math.log(0.7), abs=0.05)


def test_a_model_far_from_its_reference_is_annealed() -> None:
    data, model = apart(3, (0.7, 0.3)), Bumps(torch.full((1, 3), 7.0), 0.3)
    context = of_modes(Bent(BumpsDensity(data), lambda x: model(x) + BumpsDensity(data).log_prob(x)), data)
    assert context.weighted is None
    assert isinstance(context.annealing_base, BumpsDensity)
    assert context.normalisation.results.values["eval/log_z_method"] == "ais"


@pytest.mark.parametrize("base", ["gaussian", "method"])
def test_annealing_that_is_asked_for_is_done(base: str) -> None:
    data = apart(3, (0.7, 0.3))
    context = of_modes(Bent(BumpsDensity(data)), data, base=base)
    assert context.normalisation.results.values["eval/log_z_method"] == "ais"
    assert isinstance(context.annealing_base, FittedGaussian)


def test_chains_start_at_draws_of_the_reference_by_their_weights() -> None:
    """With the weights of the model, not those of the reference."""
    data, model = apart(2, (0.5, 0.5)), apart(2, (0.9, 0.1))
    q = BumpsDensity(data)
    context = of_modes(Bent(q, lambda x: model(x) + q.log_prob(x)), data, n_chains=1000)
    starts, notes = context._starts()
    assert notes == ()
    assert float((starts[:, 0] > 0).float().mean()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("bent", [True, False])
@pytest.mark.parametrize("dim", [3, 6])
def test_error_of_log_z_covers_it(bent: bool, dim: int) -> None:
    """Over 20 seeds, two standard errors cover at least 17 times."""
    data, model = apart(dim, (0.85, 0.15)), apart(dim, (0.7, 0.3))
    model.stds = torch.tensor([1.1, 0.9])
    model.log_scale = model.weights.log() - dim * (0.5 * LOG_2PI + model.stds.log())
    q = BumpsDensity(data)
    covered = 0
    for seed in range(20):
        energy = Bent(q, lambda x: model(x) + q.log_prob(x)) if bent else FunctionEnergy(dim, model)
        found = of_modes(energy, data, seed).normalisation
        assert found.log_z is not None
        covered += abs(found.log_z) <= 2 * found.se <= 0.02
    assert covered >= 17


def test_chains_of_a_bent_reference_cross_between_modes() -> None:
    """R̂ is near 1 with jumps; the control, chains that start in the modes and stay there, is far from it."""
    data, model = apart(2, (0.5, 0.5)), apart(2, (0.8, 0.2))
    q = BumpsDensity(data)
    sizes = {"n_chains": 50, "n_samples": 2000, "burn_in": 100}
    bent = of_modes(Bent(q, lambda x: model(x) + q.log_prob(x)), data, **sizes).drawn
    rhat = bent.results.values["sampler/rhat"]
    assert isinstance(rhat, float)
    assert rhat < 1.05
    assert bent.results.values["sampler/jumps"] == pytest.approx(0.7, abs=0.05)
    assert float((bent.draws[..., 0] > 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    alone = of_modes(FunctionEnergy(2, model), data, **sizes).drawn
    rhat = alone.results.values["sampler/rhat"]
    assert isinstance(rhat, float)
    assert rhat > 1.5
    assert "sampler/jumps" not in alone.results.values


@pytest.mark.parametrize(("bent", "error"), [(True, 0.02), (False, 0.15)])
def test_annealing_of_two_modes_agrees_within_its_error(bent: bool, error: float) -> None:
    """From the reference, which has both modes, its error is a fraction of that from the Gaussian."""
    data, model = apart(2, (0.75, 0.25)), apart(2, (0.8, 0.2))
    q = BumpsDensity(data)
    context = of_modes(Bent(q, lambda x: model(x) + q.log_prob(x)) if bent else FunctionEnergy(2, model), data)
    assert context.annealed.log_z_se < error
    assert abs(context.annealed.log_z) < 3 * context.annealed.log_z_se
