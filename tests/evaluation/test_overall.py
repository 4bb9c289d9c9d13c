"""The overall word of a run and the reasons that its sentence gives."""

from typing import Any

import pytest

from ebm_cli.evaluation.overall import WORDS, overall, untrusted, with_overall, with_unbounded
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value

TESTS = {"mmd": 0.01, "mmd_null": 0.01, "mmd_p": 0.4, "c2st": 0.51, "c2st_null": 0.5, "c2st_p": 0.4}
"""Two tests that see no difference between samples and rows."""
BETTER = {"nll_vs_gaussian": -0.8, "nll_vs_gaussian_se": 0.02}


def named(values: dict[str, Value]) -> Results:
    return Results({key if "/" in key else f"eval/{key}": value for key, value in values.items()})


def word(**values: Value) -> str:
    found = overall(named(values))
    assert found.word in WORDS
    assert found.sentence.startswith(f"{found.word}: ")
    return found.word


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.001, "right"), (0.003, "right"), (0.004, "close"), (0.05, "fair"), (0.5, "poor"), (14_620.0, "broken")],
)
def test_known_density_is_judged_by_kl(kl: float, expected: str) -> None:
    assert word(kl=kl) == expected


@pytest.mark.parametrize(
    ("kl", "error", "expected"),
    [(0.005, 0.003, "right"), (0.05, 0.04, "fair"), (0.3, 0.2, "fair"), (0.05, 0.01, "fair")],
)
def test_kl_within_its_noise_is_right_if_the_noise_is_small(kl: float, error: float, expected: str) -> None:
    assert word(kl=kl, kl_se=error) == expected


def test_large_kl_is_poor_if_the_gaussian_is_better() -> None:
    assert word(kl=0.5, nll_vs_gaussian=-0.1) == "fair"
    assert word(kl=0.5, nll_vs_gaussian=0.1) == "poor"
    assert word(kl=0.5, nll_vs_gaussian=0.1, nll_vs_gaussian_se=0.06) == "fair"


def test_negative_kl_is_never_right() -> None:
    """KL cannot be negative: log Z is wrong."""
    assert word(kl=-0.5, kl_se=0.01) == "fair"
    assert word(kl=-0.005, kl_se=0.004) == "right"


@pytest.mark.parametrize(("excess", "error"), [(0.1, 0.02), (3.0, 0.5)])
def test_model_worse_than_the_gaussian_is_poor(excess: float, error: float) -> None:
    assert word(**TESTS, nll_vs_gaussian=excess, nll_vs_gaussian_se=error) == "poor"
    assert word(kl=0.05, nll_vs_gaussian=excess, nll_vs_gaussian_se=error) == "poor"


def test_model_within_the_noise_of_the_gaussian_is_not_poor() -> None:
    assert word(**TESTS, nll_vs_gaussian=0.03, nll_vs_gaussian_se=0.02) == "right"
    assert word(kl=0.001, nll_vs_gaussian=0.001) == "right"


def test_model_worse_than_the_better_simple_density_is_poor() -> None:
    worse = {"nll_vs_mixture": 0.1, "nll_vs_mixture_se": 0.02}
    assert word(**TESTS, **BETTER, **worse) == "poor"
    assert word(kl=0.05, **BETTER, **worse) == "poor"
    assert word(kl=0.5, **BETTER, **worse) == "poor"
    assert word(**TESTS, nll_vs_gaussian=0.1, nll_vs_mixture=-0.1) == "poor"
    assert word(**TESTS, **BETTER, nll_vs_mixture=0.03, nll_vs_mixture_se=0.02) == "right"
    assert word(kl=0.5, **BETTER, nll_vs_mixture=-0.1) == "fair"


@pytest.mark.parametrize(("n_dims", "expected"), [(2, "poor"), (9, "poor"), (11, "close")])
def test_poor_is_a_hundredth_of_a_nat_a_dimension(n_dims: int, expected: str) -> None:
    found = overall(named({**TESTS, **BETTER, "nll_vs_mixture": 0.1, "nll_vs_mixture_se": 0.01}), n_dims)
    assert found.word == expected


def test_poor_table_is_told_what_to_try() -> None:
    found = overall(named({**TESTS, **BETTER, "nll_vs_mixture": 0.3, "nll_vs_mixture_se": 0.02}))
    assert found.sentence == (
        "poor: worse than a mixture of Gaussians on held-out rows, by 0.3000 ± 0.02000 nats a row (energy=tilted "
        "starts at the best such density, and patience=5 evaluates the best step)"
    )


def test_narrow_clusters_do_not_make_a_model_broken() -> None:
    """The mixture may be far better than a model that is better than the Gaussian."""
    assert word(**TESTS, **BETTER, nll_vs_mixture=40.0, nll_vs_mixture_se=2.0) == "poor"


def test_model_far_below_the_gaussian_is_broken() -> None:
    assert word(**TESTS, nll_vs_gaussian=40.0, nll_vs_gaussian_se=2.0) == "broken"


@pytest.mark.parametrize(("n_dims", "expected"), [(1, "broken"), (39, "broken"), (41, "poor"), (784, "poor")])
def test_broken_is_a_nat_a_coordinate_in_many_dimensions(n_dims: int, expected: str) -> None:
    found = overall(named({"nll_vs_gaussian": 40.0, "nll_vs_gaussian_se": 2.0}), n_dims)
    assert found.word == expected


def test_unknown_density_needs_samples_to_be_right() -> None:
    assert word(**BETTER, **TESTS) == "right"
    assert word(**BETTER) == "fair"
    assert word(**TESTS) == "right"


def test_few_rows_are_at_best_close() -> None:
    assert word(**TESTS, nll_vs_gaussian=-0.8, nll_vs_gaussian_se=0.3) == "close"


@pytest.mark.parametrize(("c2st", "expected"), [(0.55, "close"), (0.7, "fair"), (0.9, "poor")])
def test_samples_that_differ_are_graded_by_their_distance(c2st: float, expected: str) -> None:
    values = {**TESTS, "c2st": c2st, "c2st_p": 1e-6}
    assert word(**values) == expected
    assert word(**values, **BETTER) == ("fair" if expected == "poor" else expected)


@pytest.mark.parametrize(("mmd", "expected"), [(0.02, "close"), (0.08, "fair"), (0.2, "poor")])
def test_distance_is_measured_in_nulls(mmd: float, expected: str) -> None:
    assert word(**{**TESTS, "mmd": mmd, "mmd_p": 0.001}) == expected


@pytest.mark.parametrize(("ratio", "expected"), [(0.001, "close"), (0.05, "fair"), (0.5, "poor"), (2.0, "broken")])
def test_score_alone_is_never_right(ratio: float, expected: str) -> None:
    assert word(fisher=ratio * 7, fisher_flat=7.0) == expected


@pytest.mark.parametrize(
    "bad",
    [
        {"mmd": 0.02, "mmd_null": 0.01, "mmd_p": 0.001},
        {"fisher": 0.5, "fisher_flat": 1.0},
        {"log_z_gap": 0.5},
        {"log_density_mse": 1.0},
        {"mode_tv": 0.1},
        {"class_tv": 0.3, "class_tv_null": 0.05, "class_tv_p": 0.001},
        {"border_mass": 0.01},
    ],
)
def test_one_bad_result_prevents_right(bad: dict[str, Value]) -> None:
    assert word(kl=0.001, **bad) == "close"


def test_foreign_rows_and_flows_do_not_count() -> None:
    assert word(kl=0.001, ood_auroc=0.5, ood_auroc_se=0.01, flow_kl=3.0) == "right"


def test_energy_worse_than_its_own_flow_is_not_right() -> None:
    assert word(**BETTER, **TESTS, nll=2.5, nll_se=0.01, flow_nll=2.3) == "close"
    assert word(**BETTER, **TESTS, nll=2.5, nll_se=0.01, flow_nll=2.499) == "right"


def test_wrong_mode_weights_lower_the_word() -> None:
    assert word(**BETTER, **TESTS, mode_tv=0.08) == "fair"
    assert word(**BETTER, **TESTS, mode_tv=0.68) == "poor"


def test_poor_run_is_not_told_its_small_faults() -> None:
    found = overall(
        named({**TESTS, "nll_vs_gaussian": 8659.0, "nll_vs_gaussian_se": 710.0, "mmd_p": 0.005, "log_z_gap": 3.0})
    )
    assert found.sentence == "broken: worse than the fitted Gaussian on held-out rows, by 8 659 ± 710.0 nats a row"


def test_reason_of_the_word_comes_first() -> None:
    found = overall(named({"kl": 0.002, "mode_tv": 0.08}))
    assert found.sentence == "close: 8.0% of the probability is in the wrong modes; KL 0.002000 nats"


def test_mass_outside_the_data_lowers_the_word() -> None:
    assert [word(kl=0.002, border_mass=mass) for mass in (1e-6, 0.2, 0.9)] == ["right", "fair", "broken"]


@pytest.mark.parametrize(
    "reason",
    ["exp(-energy) is not integrable: 1 of its mass lies beyond ±638", "the energy is nan at u = [0.0]"],
)
def test_energy_without_an_integral_is_broken(reason: str) -> None:
    found = overall(Results(named(TESTS).values, {"eval/log_z": reason}))
    assert found.word == "broken"
    assert reason in found.sentence


def test_missing_log_z_alone_is_no_fault() -> None:
    found = overall(Results(named(TESTS).values, {"eval/log_z": "no closed form, and no grid in 9 dimensions"}))
    assert found.word == "right"


def test_overall_is_absent_without_a_basis() -> None:
    results = named({"ood_auroc": 0.9, "sampler/rhat": 1.0})
    found = overall(results)
    assert found.word == ""
    assert found.sentence.startswith("not judged: ")
    assert found.reasons[-1] == "metrics needs density, samples or score"
    assert "eval/overall" not in with_overall(results, found).values


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        ({"eval/nll_vs_gaussian": "too few held-out rows: 2, and 10 are needed"}, "too few held-out rows: 2"),
        ({"eval/log_z": "no closed form, and no grid in 64 dimensions"}, "log Z is not known (no closed form"),
    ],
)
def test_run_that_is_not_judged_says_why(absent: dict[str, str], words: str) -> None:
    assert overall(Results({}, absent)).sentence.startswith(f"not judged: {words}")


CONSTANT = "column c is constant (3); set dataset.drop=c"


@pytest.mark.parametrize("excess", [-4.0, 4.0])
def test_no_word_where_no_likelihood_has_a_bound(excess: float) -> None:
    results = with_unbounded(
        named({**TESTS, "nll": -4.4, "nll_vs_gaussian": excess, "nll_vs_mixture": excess}), CONSTANT
    )
    found = overall(results)
    assert found.word == ""
    assert found.sentence == (
        "not judged: the likelihood of this table has no upper bound, so that a better one means nothing: column c "
        "is constant (3); set dataset.drop=c; no test tells its samples from held-out rows"
    )
    assert verdict("eval/nll_vs_mixture", results.values).word == "means nothing"
    assert verdict("eval/nll_vs_mixture", results.values).good is None


def test_control_bounded_table_keeps_its_word() -> None:
    values = named({**TESTS, "nll": -4.4, **BETTER})
    assert overall(with_unbounded(values, "")).word == "right"


def test_samples_alone_are_judged_on_any_table() -> None:
    assert overall(with_unbounded(named(TESTS), CONSTANT)).word == "right"


def test_known_density_is_judged_on_any_table() -> None:
    """Its likelihood has a bound: the entropy."""
    assert overall(with_unbounded(named({"kl": 0.001, "nll": 2.5}), CONSTANT)).word == "right"


def test_broken_chains_are_broken_on_any_table() -> None:
    results = with_unbounded(named({**TESTS, **BETTER, "nll": 1.0, "sampler/non_finite": 3}), CONSTANT)
    assert overall(results).word == "broken"


KSD = {"ksd": 0.1, "ksd_p": 0.3}
TOO_FEW = {"eval/mmd": "1000 samples and 12 held-out rows are too few to compare: 10 and 20 are needed"}


def test_few_rows_name_the_tests_that_ran_and_those_that_did_not() -> None:
    found = overall(Results(named({**KSD, **BETTER}).values, TOO_FEW))
    assert found.word == "close"
    assert found.reasons[0].startswith(
        "KSD does not tell the model from the rows (too few rows for MMD, energy dist., sliced W and C2ST)"
    )
    differs = overall(Results(named({"ksd": 9.0, "ksd_p": 0.001}).values, TOO_FEW))
    assert differs.sentence.endswith("in KSD (p 0.001) (too few rows for MMD, energy dist., sliced W and C2ST)")


def test_stein_discrepancy_alone_is_never_right() -> None:
    assert word(**KSD) == "close"
    assert word(**KSD, **TESTS) == "right"


def test_overall_is_the_first_result() -> None:
    results = named({"kl": 0.001})
    assert next(iter(with_overall(results, overall(results)).values.items())) == ("eval/overall", "right")


@pytest.mark.parametrize("word_of_run", WORDS)
def test_strict_does_not_trust_poor_and_broken_runs(word_of_run: str) -> None:
    values: dict[str, Any] = {"eval/overall": word_of_run, "sampler/never_moved": 0}
    assert untrusted(values) is None
    assert (untrusted(values, strict=True) is None) == (word_of_run in ("right", "close", "fair"))


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ({"sampler/never_moved": 1000, "sampler/n_chains": 1000}, "broken"),
        ({"sampler/never_moved": 3, "sampler/n_chains": 1000}, "close"),
        ({"sampler/non_finite": 1}, "broken"),
    ],
)
def test_chains_without_samples_are_not_trusted(chains: dict[str, Value], expected: str) -> None:
    assert word(kl=0.001, **chains) == expected
    assert overall(named(chains)).word == ("broken" if expected == "broken" else "")
    assert untrusted(chains) is not None
    assert untrusted(dict.fromkeys(chains, 0)) is None
