"""Sentences on chains that are not to be trusted: what happened, the number, and the cure with its keys."""

import pytest

from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.values import Value

STILL = {"sampler/n_chains": 100, "sampler/step_size": 50.0}
SAMPLED = {"sampler/init": "noise"}
"""Only `ebm sample` says where its chains started."""


def test_sound_chains_have_no_problems() -> None:
    assert problems({"sampler/never_moved": 0, "sampler/non_finite": 0, "sampler/n_chains": 10}) == []
    assert problems({}) == []


def test_many_chains_that_never_moved_have_too_long_a_step() -> None:
    (sentence,) = problems({"sampler/never_moved": 97, **STILL, **SAMPLED})
    assert sentence.startswith("97 of 100 chains never moved: every proposal was refused")
    assert "The step size, 50, is too long: take sampler.step_size=5 or less" in sentence
    assert "(adapt=true burn_in=1000)" in sentence


def test_few_chains_that_never_moved_are_alone() -> None:
    (sentence,) = problems({"sampler/never_moved": 3, **STILL, **SAMPLED})
    assert sentence.startswith("3 of 100 chains never moved: the step size that suits the others is refused")
    assert (
        "Take adapt=false sampler.step_size=5, a longer burn-in, or sampler=metropolis, which no steep gradient stops."
        in sentence
    )


def test_few_transitions_leave_some_chains_at_rest_by_chance() -> None:
    # 1000 · 0.4⁵ = 10.2 of them are expected; 10.2 + 3 √10.2 = 19.8.
    few = {"sampler/n_chains": 1000, "sampler/n_steps": 5, "sampler/acceptance": 0.6, "sampler/acceptance_low": 0.4}
    assert problems({"sampler/never_moved": 19, **few}) == []
    assert verdict("sampler/never_moved", {"sampler/never_moved": 19, **few}) == ("of 1000 chains", "by chance", True)
    assert len(problems({"sampler/never_moved": 20, **few})) == 1
    # After 500 transitions one of a thousand is no chance, nor are 19 whose step is too long for any of them.
    assert problems({"sampler/never_moved": 1, **few, "sampler/n_steps": 500})[0].startswith("1 of 1000 chains never")
    assert len(problems({"sampler/never_moved": 19, **few, "sampler/acceptance": 0.3})) == 1


def test_draws_that_are_not_finite_have_a_cure() -> None:
    (sentence,) = problems({"sampler/non_finite": 7, "sampler/n_draws": 40, **SAMPLED})
    assert sentence.startswith("7 of 40 draws are not finite: the chains diverged. Lower sampler.step_size")
    assert "(sampler=mala)" in sentence


@pytest.mark.parametrize("others", [{"eval/kl": 0.1}, {}], ids=["density", "chains alone"])
def test_problems_of_an_evaluation_name_its_own_keys(others: dict[str, Value]) -> None:
    still, broken = problems({**others, "sampler/never_moved": 97, "sampler/non_finite": 7, **STILL})
    assert "take eval.sampler.step_size=5 or less, or let a burn-in adapt it (eval.burn_in=1000)" in still
    assert (
        "Lower eval.sampler.step_size, or choose a sampler with a Metropolis test (sampler@eval.sampler=mala)" in broken
    )
