"""Chains that have not met are followed by tempered ones; others, and those of a rule that leaves them out, are not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation import crossing
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.crossing import LEAST, tempered_kernel, why_not
from ebm_cli.evaluation.model_samples import Drawn
from ebm_cli.evaluation.results import Results
from ebm_cli.samplers import HMC, MALA, Tempering
from tests.evaluation.toys import Bumps, FunctionEnergy, Rows, small_context
from tests.support import harmonic, seeded

SIZES = {"n_chains": 100, "n_samples": 500, "burn_in": 100, "init": "noise"}
SHORT = {"n_chains": 10, "n_samples": 40, "burn_in": 0}


def far_apart(**changes: object) -> Context:
    """Chains that noise drops into two modes of 0.8 and 0.2, half of them in each."""
    means = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    model = Bumps(means, 0.6, torch.tensor([0.8, 0.2]))
    return small_context(FunctionEnergy(2, model), Rows(model.sample(500, seeded())), "chains", **{**SIZES, **changes})


def share(drawn: Drawn) -> float:
    return float((drawn.draws[..., 0] > 0).float().mean())


def test_tempered_chains_follow_those_that_have_not_met() -> None:
    alone, crossed = far_apart().drawn, far_apart(fallback="auto").drawn
    first, found = alone.results.values, crossed.results.values
    assert (first["sampler/drawn_by"], found["sampler/drawn_by"]) == ("mala", "tempering")
    assert "sampler/rhat_first" not in first
    assert found["sampler/rhat_first"] == first["sampler/rhat"] > 1.5
    assert found["sampler/rhat"] < 1.1
    assert share(crossed) == pytest.approx(0.2, abs=0.05)
    # The control: without them the weights are those of the start.
    assert share(alone) == pytest.approx(0.5, abs=0.15)
    assert crossed.draws.shape == (50, LEAST, 2)
    [note] = crossed.results.notes
    assert note.startswith("The chains of mala had not mixed (R-hat ")
    assert "10 chains with tempering (6 replicas each, R-hat 1.0" in note
    # Both attempts are counted, from their first draws on.
    grads = [Tempering().evaluations(500).grad * LEAST, MALA().evaluations(50).grad * 100]
    assert found["sampler/ess_bulk"] / found["sampler/ess_per_grad"] == pytest.approx(sum(grads))
    # Distances take several positions of a chain, where it has as many effective draws.
    assert LEAST < len(crossed.independent) <= 100


def test_chains_that_have_mixed_keep_their_bits() -> None:
    sizes = {"n_chains": 20, "n_samples": 600}
    data = Rows(torch.randn(100, 2, generator=seeded()))
    a, b = (
        small_context(FunctionEnergy(2, harmonic), data, "chains", fallback=fallback, **sizes).drawn
        for fallback in ("none", "tempering")
    )
    assert torch.equal(a.draws, b.draws)
    assert b.results.values["sampler/rhat"] < 1.1
    assert b.results.values["sampler/drawn_by"] == "mala"
    assert torch.equal(b.independent, b.draws[-1])


def test_a_ladder_is_not_tempered_again() -> None:
    found = far_apart(fallback="tempering", kernel=Tempering(), **SHORT).drawn.results
    assert found.values["sampler/rhat"] >= 1.1
    assert "sampler/rhat_first" not in found.values
    assert found.notes == ()


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Results of the second chains beside their R̂ of 1.05, in place of chains that run."""
    changes: dict[str, object] = {}

    chains = Context._chains

    def drawn(context: Context, starts: Tensor, *, jumps: bool, is_tempered: bool = False) -> Drawn:
        if not is_tempered:
            return chains(context, starts, jumps=jumps)
        values = {"sampler/drawn_by": "tempering", "sampler/rhat": 1.05, "sampler/ess_bulk": 30.0, **changes}
        return Drawn(torch.zeros(20, LEAST, 2), Results(values), 1_000_000, 100.0)

    monkeypatch.setattr(Context, "_chains", drawn)
    return changes


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sampler/rhat": 9.0}, "have R-hat 9"),
        ({"sampler/rhat": None}, "have no R-hat"),
        ({"sampler/non_finite": 3}, "have R-hat 1.05"),
    ],
    ids=["unmixed", "unknown", "diverged"],
)
def test_chains_that_are_no_better_are_not_taken(
    second: dict[str, object], changes: dict[str, object], found: str
) -> None:
    second.update(changes)
    alone, kept = (far_apart(fallback=word, **SHORT).drawn for word in ("none", "tempering"))
    assert kept.results.values["sampler/drawn_by"] == "mala"
    assert torch.equal(kept.draws, alone.draws)
    assert kept.results.notes == (f"Chains with tempering are no better ({found}): the samples are those of mala.",)
    assert kept.gradients == alone.gradients + 1_000_000
    assert kept.results.values["sampler/ess_per_grad"] < alone.results.values["sampler/ess_per_grad"]


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("fallback", ["auto", "tempering"])
def test_large_energies_are_tempered_if_asked(fallback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing, "MOST_WORK", -1.0)
    found = far_apart(fallback=fallback, **SHORT).drawn.results
    assert found.values["sampler/drawn_by"] == ("mala" if fallback == "auto" else "tempering")
    assert found.notes[0].startswith("Tempering was not tried on these chains: it would take ") == (fallback == "auto")


def test_images_and_large_energies_are_left_out() -> None:
    network = torch.nn.Linear(1000, 100, bias=False)
    energy = FunctionEnergy(2, network)
    energy.network = network
    assert why_not(energy, torch.Size((2,)), 10**6) is None
    assert why_not(energy, torch.Size((1, 8, 8)), 1) == "it needs a long ladder for images"
    assert why_not(energy, torch.Size((2,)), 10**7) == "it would take 1e+07 gradients of 100,000 parameters"


def test_the_ladder_is_over_the_chosen_kernel() -> None:
    found = tempered_kernel(HMC(step_size=0.3, metric="full"))
    assert found == Tempering(step_size=0.3, kernel=HMC(step_size=0.3))


def test_independent_positions_are_the_ends_of_parts() -> None:
    draws = torch.arange(12.0).view(6, 2, 1)
    whole = Drawn(draws, Results(), 1, 1.0)
    assert torch.equal(whole.independent, draws[-1])
    assert torch.equal(replace(whole, n_apart=3).independent[:, 0], torch.tensor([2.0, 3, 6, 7, 10, 11]))
