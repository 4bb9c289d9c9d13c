"""Sentences on results that a table cannot explain."""

import pytest

from ebm_cli.evaluation.values import Value
from ebm_cli.reporting.explanations import absences, explain


def test_explain_says_what_the_trained_density_integrates_to() -> None:
    (sentence,) = explain({"eval/log_z_gap": 0.6931472})
    assert "0.693 nats above" in sentence
    assert "integrates to 0.5" in sentence
    (below,) = explain({"eval/log_z_gap": -0.6931472})
    assert "0.693 nats below" in below
    assert "integrates to 2" in below
    assert "0.03 nats above" in explain({"eval/log_z_gap": 0.03})[0]


@pytest.mark.parametrize(
    ("gap", "error", "words"),
    [
        (1e-8, 0.0, "agree: they are less than 0.001 nats apart."),
        (-0.0142, 0.004, "agree: they are 0.014 nats apart."),
        (0.03, 0.02, "agree: they are 0.03 nats apart; the integral has an error of 0.02."),
    ],
)
def test_log_z_that_agrees_is_said_to_agree(gap: float, error: float, words: str) -> None:
    (sentence,) = explain({"eval/log_z_gap": gap, "eval/log_z_se": error})
    assert sentence == f"The trained log Z and the integral {words}"


def test_foreign_rows_with_lower_energies_are_explained_once() -> None:
    reversed_kind = {"eval/ood_auroc_shuffled": 0.2, "eval/ood_auroc_shuffled_se": 0.01, "eval/ood_auroc": 0.2}
    (sentence,) = explain(reversed_kind)
    assert sentence.startswith("AUROC shuffled is the wrong way round: of a foreign and a held-out row")
    assert "only 20% of the pairs" in sentence
    assert explain(reversed_kind | {"eval/ood_auroc_shuffled": 0.7}) == []


def test_explain_names_wrong_mode_weights_and_a_right_score() -> None:
    results: dict[str, Value] = {"eval/mode_tv": 0.3, "eval/fisher": 0.001, "eval/fisher_flat": 10.0}
    (sentence,) = explain(results)
    assert "30.0%" in sentence
    assert "which a score cannot show" in sentence
    (alone,) = explain({**results, "eval/fisher": 5.0})
    assert "score" not in alone
    assert explain({**results, "eval/mode_tv": 0.01}) == []


def test_explain_says_that_an_energy_is_worse_than_its_own_flow() -> None:
    (sentence,) = explain({"eval/nll": 2.5, "eval/nll_se": 0.01, "eval/flow_nll": 2.2, "eval/flow_kl": 0.01})
    assert sentence.startswith("The energy is worse than its own flow, whose NLL is 0.3 nats lower")
    assert explain({"eval/nll": 2.5, "eval/nll_se": 0.2, "eval/flow_nll": 2.2}) == []
    assert explain({"eval/nll": 2.5, "eval/flow_nll": 2.499}) == []
    assert explain({"eval/nll": 2.5, "eval/flow_nll": 3.0, "eval/kl": 0.1}) == []


def test_explain_names_a_wrong_temperature() -> None:
    (sentence,) = explain({"eval/chain_temperature": 1.5, "eval/chain_temperature_se": 0.001})
    assert "T = 1.5" in sentence
    assert explain({"eval/chain_temperature": 1.01, "eval/chain_temperature_se": 0.001}) == []


def test_explain_names_chains_that_have_not_mixed() -> None:
    for rhat, degree in ((1.02, "have nearly mixed"), (1.2, "have not mixed"), (2.4, "have not mixed")):
        (sentence,) = explain({"sampler/rhat": rhat, "sampler/init": "noise", "sampler/separation": 2.0})
        assert sentence.startswith(f"The chains {degree} (R-hat {rhat}")
        assert ("the noise that they start from" in sentence) == (rhat > 1.1)
    (evaluated,) = explain({"sampler/rhat": 2.4, "sampler/separation": 2.0, "eval/log_z_ais": 0.1})
    assert "those of the annealed start, not" in evaluated
    # Without a log Z by annealing the start is not known here.
    (unknown,) = explain({"sampler/rhat": 2.4, "sampler/separation": 2.0})
    assert "those of their start, not" in unknown
    assert explain({"sampler/rhat": 1.001}) == []


@pytest.mark.parametrize("apart", [{}, {"sampler/separation": 1.9}], ids=["one chain", "chains overlap"])
@pytest.mark.parametrize("rhat", [1.13, 2.4])
def test_chains_that_overlap_are_not_told_as_modes(rhat: float, apart: dict[str, Value]) -> None:
    (sentence,) = explain({"sampler/rhat": rhat, "sampler/init": "noise", **apart})
    assert sentence.startswith(f"The chains have not converged yet (R-hat {rhat}): the draws of each are correlated")
    assert sentence.endswith("Take longer ones (a larger thin), and a longer burn_in where they start far away.")
    assert "mode" not in sentence
    (evaluated,) = explain({"sampler/rhat": rhat, **apart})
    assert "a larger eval.n_samples, or fewer eval.n_chains" in evaluated
    ladder = {"sampler/swap_rate": 0.3, "sampler/swap_rate_low": 0.02}
    assert "raise eval.sampler.n_replicas" in explain({"sampler/rhat": rhat, **apart, **ladder})[0]


@pytest.mark.parametrize(
    ("ess", "n_draws", "cure"),
    [
        (400, 400, "The draws are few, not correlated (their effective number is 400 of 400, and more than 400 is"
                   " asked for): ask for more, n_samples=500."),
        (100, 2000, "The draws of a chain are correlated (their effective number is 100 of 2000, and more than 400 is"
                    " asked for): take thin 5 times as large, or n_samples=10000."),
        (40, 400, "The draws of a chain are correlated (their effective number is 40 of 400, and more than 400 is"
                  " asked for): take n_samples=5000."),
    ],
)  # fmt: skip
def test_small_ess_is_told_with_the_cure_of_its_reason(ess: float, n_draws: int, cure: str) -> None:
    values: dict[str, Value] = {"sampler/ess_bulk": ess, "sampler/ess_tail": 500, "sampler/n_draws": n_draws}
    values |= {"sampler/n_chains": 20, "sampler/rhat": 1.005}
    assert explain({**values, "sampler/init": "noise"}) == [cure]
    (evaluated,) = explain(values)
    assert "eval.n_samples=" in evaluated
    assert "thin" not in evaluated
    assert explain({**values, "sampler/ess_bulk": 401}) == []
    assert "effective number" not in " ".join(explain({**values, "sampler/rhat": 1.2}))


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"sampler/init": "noise"}, "With sampler=tempering they cross"),
        ({}, "With sampler@eval.sampler=tempering they cross"),
        ({"sampler/rhat_second": 3.0}, "were no better: try sampler@eval.sampler=tempering eval.sampler.hottest=100"),
        ({"sampler/swap_rate": 0.3, "sampler/swap_rate_low": 0.02}, "raise eval.sampler.n_replicas"),
        ({"sampler/swap_rate": 0.3, "sampler/round_trips": 2.0}, "take more steps, or fewer eval.sampler.n_replicas"),
        ({"sampler/swap_rate": 0.3, "sampler/round_trips": 50.0}, "raise eval.sampler.hottest"),
    ],
)
def test_explain_says_what_lets_chains_cross(values: dict[str, Value], advice: str) -> None:
    for rhat in (1.2, 2.4):
        (sentence,) = explain({"sampler/rhat": rhat, "sampler/separation": 2.0, **values})
        assert advice in sentence
    (sentence,) = explain({"sampler/rhat": 1.02, "sampler/separation": 2.0, **values})
    assert advice not in sentence


def test_results_missing_for_one_reason_share_a_sentence() -> None:
    assert absences({"a/x": "no rows", "a/y": "no log Z", "a/z": "no rows"}) == ["a/x, a/z: no rows", "a/y: no log Z"]


@pytest.mark.parametrize(
    ("rate", "rhat", "cure"),
    [
        (
            0.996,
            1.3,
            "steps of the chains are short (acceptance 0.996; 0.4 to 0.8 is efficient): raise sampler.step_size",
        ),
        (0.1, 1.001, "steps of the chains are long (acceptance 0.1; 0.4 to 0.8 is efficient): lower sampler.step_size"),
        (0.996, 1.001, None),
        (0.6, 1.3, None),
    ],
)
def test_acceptance_outside_its_range_has_a_cure(rate: float, rhat: float, cure: str | None) -> None:
    good: dict[str, Value] = {"sampler/acceptance_low": 0.4, "sampler/acceptance_high": 0.8, "sampler/step_size": 0.05}
    good["sampler/init"] = "noise"
    found = [
        text for text in explain({"sampler/acceptance": rate, "sampler/rhat": rhat, **good}) if "step_size" in text
    ]
    assert [f"The {cure} (now 0.05), or let a burn-in adapt it (adapt=true burn_in=1000)."] * bool(cure) == found


def test_explain_names_the_bias_of_an_unadjusted_chain() -> None:
    results: dict[str, Value] = {"sampler/virial": 1.2, "sampler/virial_se": 0.01, "sampler/virial_exact": 2}
    (sentence,) = explain(results)
    assert "is 3.2 where an exact chain has D T = 2. Lower eval.sampler.step_size" in sentence
    assert sentence.endswith(", or take a sampler with a Metropolis test, as sampler@eval.sampler=mala.")
    (sampled,) = explain({**results, "sampler/init": "noise"})
    assert "Lower sampler.step_size (where burn-in finds it, sampler.energy_error), or take" in sampled
    assert sampled.endswith("Metropolis test, as sampler=mala.")
    assert explain({**results, "sampler/virial": 0.02}) == []
    (exact,) = explain({**results, "sampler/acceptance": 0.6})
    assert exact.startswith("The chains have not forgotten their start: E[(x - c) grad f] is 3.2 where")
    *_, unmixed = explain({**results, "sampler/rhat": 1.2})
    assert unmixed.startswith("The chains have not forgotten their start, or their step biases them: E[(x - c)")
