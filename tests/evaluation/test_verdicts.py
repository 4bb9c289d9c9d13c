"""Verdicts: the reference of a result, its grade, and the thresholds between grades."""

import pytest

from ebm_cli.evaluation.overall import overall, with_overall
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value
from ebm_cli.evaluation.verdicts import Verdict


def verdict_on(key: str, **values: Value) -> Verdict:
    """The verdict on a key of these `eval/` results, named without their group."""
    return verdict(f"eval/{key}", {f"eval/{name}": value for name, value in values.items()})


@pytest.mark.parametrize(("kl", "word"), [(0.0019, "right"), (0.004, "close"), (0.05, "fair"), (2.9, "poor")])
def test_kl_is_graded_in_nats(kl: float, word: str) -> None:
    assert verdict_on("kl", kl=kl) == Verdict("0", word, word != "poor")


@pytest.mark.parametrize("excess", [{}, {"nll_vs_gaussian": -0.7}, {"nll_vs_gaussian": 0.05}, {"nll_vs_mixture": 0.3}])
@pytest.mark.parametrize("kl", [0.001, 0.005, 0.02, 0.2, 3.0])
@pytest.mark.parametrize("n_dims", [1, 10])
def test_row_of_kl_has_the_word_of_its_run(kl: float, excess: dict[str, Value], n_dims: int) -> None:
    """By KL alone: what lowers the word of a run beside it is said with it."""
    results = Results({"eval/kl": kl, **{f"eval/{key}": value for key, value in excess.items()}})
    found = overall(results, n_dims)
    row = verdict("eval/kl", with_overall(results, found).values)
    assert (row.word == found.word) or any("worse than" in reason for reason in found.reasons)
    assert row.good == (kl <= 0.1)


def test_a_flow_is_not_graded_by_what_the_energy_beats() -> None:
    assert verdict_on("flow_kl", flow_kl=0.2, nll_vs_gaussian=-0.7).word == "poor"
    assert verdict_on("kl", kl=0.2, nll_vs_gaussian=-0.7).word == "fair"


def test_kl_within_two_standard_errors_is_noise() -> None:
    assert verdict_on("kl", kl=0.3, kl_se=0.2) == Verdict("0 ± 0.2", "within noise", True)
    assert verdict_on("kl", kl=0.3, kl_se=0.1).word == "poor"


@pytest.mark.parametrize(("kl", "error", "word"), [(-0.5, 0.1, "impossible"), (-0.5, None, "impossible")])
def test_kl_below_zero_is_impossible(kl: float, error: float | None, word: str) -> None:
    assert verdict_on("kl", kl=kl, kl_se=error)[1:] == (word, False)
    assert verdict_on("kl", kl=-0.25, kl_se=0.1).word == "right"
    assert verdict_on("kl", kl=-1e-6).word == "right"


def test_nll_has_the_entropy_as_reference() -> None:
    assert verdict_on("nll", nll=2.9, entropy=2.83, nll_se=0.1) == Verdict("entropy 2.830")
    assert verdict_on("nll", nll=2.9, nll_se=0.1) == Verdict("± 0.1")


@pytest.mark.parametrize(("value", "word"), [(-0.5, "better"), (0.5, "worse"), (0.1, "equal")])
def test_nll_vs_gaussian_is_graded_by_its_error(value: float, word: str) -> None:
    assert verdict_on("nll_vs_gaussian", nll_vs_gaussian=value, nll_vs_gaussian_se=0.1).word == word


@pytest.mark.parametrize(("value", "word"), [(-0.02, "better"), (0.009, "equal"), (0.02, "worse")])
def test_nll_vs_gaussian_is_equal_below_a_hundredth(value: float, word: str) -> None:
    assert verdict_on("nll_vs_gaussian", nll_vs_gaussian=value).word == word


@pytest.mark.parametrize(("value", "word"), [(0.006, "right"), (0.02, "close"), (0.19, "fair"), (0.21, "poor")])
def test_log_density_mse_is_graded_as_twice_a_kl(value: float, word: str) -> None:
    assert verdict_on("log_density_mse", log_density_mse=value).word == word


@pytest.mark.parametrize(("value", "word"), [(0.01, "close"), (0.1, "close"), (0.9, "fair"), (1.1, "poor")])
def test_fisher_is_graded_by_its_ratio_to_a_flat_energy(value: float, word: str) -> None:
    assert verdict_on("fisher", fisher=value, fisher_flat=10.0) == Verdict("flat: 10.00", word, word != "poor")
    assert verdict_on("fisher", fisher=value) == Verdict("0")


@pytest.mark.parametrize(("error", "word"), [(0.1, "precise"), (0.2, "rough")])
def test_log_z_by_annealing_is_graded_by_its_error(error: float, word: str) -> None:
    found = verdict_on("log_z", log_z=1.0, log_z_method="ais", log_z_se=error, log_z_ess=123.4)
    assert found == Verdict(f"ais ± {error:.4f}, ESS 123", word, word == "precise")


def test_log_z_of_few_weights_is_rough() -> None:
    """The standard error of two weights means nothing, however small it is."""
    assert verdict_on("log_z", log_z=1.0, log_z_method="ais", log_z_se=0.01, log_z_ess=2.0).word == "rough"


def test_log_z_by_a_grid_names_the_mass_outside() -> None:
    found = verdict_on("log_z", log_z=1.0, log_z_method="grid", border_mass=1e-9)
    assert found == Verdict("grid, 1e-09 outside", "exact", True)
    assert verdict_on("log_z", log_z=1.0, log_z_method="grid", border_mass=0.0).reference == "grid"
    assert verdict_on("log_z", log_z=1.0, log_z_method="exact", border_mass=1e-9).reference == "exact"


@pytest.mark.parametrize(
    ("value", "error", "word", "good"),
    [
        (1.01, 0.0, "agrees", True),
        (1.035, 0.02, "agrees", True),
        (1.05, 0.02, "off", False),
        (1.05, 0.0, "off", False),
        (0.951, 0.025, "rough", None),
    ],
)
def test_log_z_ais_agrees_within_two_small_errors(value: float, error: float, word: str, good: bool | None) -> None:
    found = verdict_on("log_z_ais", log_z=1.0, log_z_ais=value, log_z_ais_se=error, log_z_ais_upper=1.2)
    assert found == Verdict(f"± {error:.2g}, below 1.200", word, good)
    assert verdict_on("log_z_ais", log_z_ais=value, log_z_ais_se=error).word == ""


def test_log_z_learned_has_the_integral_as_reference() -> None:
    assert verdict_on("log_z_learned", log_z_learned=1.0, log_z=2.0) == Verdict("integral 2.000")


@pytest.mark.parametrize(
    ("gap", "error", "word"),
    [(0.01, 0, "agrees"), (0.05, 0, "close"), (-0.15, 0, "off"), (0.05, 0.03, "agrees"), (0.15, 0.08, "agrees")],
)
def test_log_z_gap_is_off_beyond_two_errors_and_a_tenth(gap: float, error: float, word: str) -> None:
    assert verdict_on("log_z_gap", log_z_gap=gap, log_z_se=error) == Verdict("0", word, word != "off")


@pytest.mark.parametrize(("value", "null", "good"), [(0.02, None, True), (0.03, None, False), (0.03, 0.01, True)])
def test_mode_tv_is_right_up_to_two_nulls(value: float, null: float | None, good: bool) -> None:
    assert verdict_on("mode_tv", mode_tv=value, mode_tv_null=null).good is good


@pytest.mark.parametrize(("error", "good"), [(0.001, False), (0.02, True)])
def test_mode_tv_is_right_up_to_two_standard_errors(error: float, good: bool) -> None:
    assert verdict_on("mode_tv", mode_tv=0.05, mode_tv_se=error) == Verdict(
        f"0 ± {error}", "right" if good else "wrong", good
    )


@pytest.mark.parametrize(("p", "word"), [(0.4, "within noise"), (0.01, "differs"), (0.001, "differs")])
def test_distance_is_graded_by_its_p_value(p: float, word: str) -> None:
    found = verdict_on("mmd", mmd=0.02, mmd_null=0.001, mmd_p=p)
    assert found == Verdict(f"data: 0.001, p {p}", word, word == "within noise")


def test_distance_without_a_p_value_has_no_grade() -> None:
    assert verdict_on("mmd", mmd=0.02) == Verdict()
    assert verdict_on("mmd", mmd=0.02, mmd_null=0.1) == Verdict("data: 0.1")


@pytest.mark.parametrize(
    ("value", "p", "word"),
    [(0.02, 0.3, "within noise"), (0.05, 0.01, "close"), (0.061, 0.01, "fair"), (0.21, 0.01, "poor")],
)
def test_feature_distance_is_close_up_to_three_nulls(value: float, p: float, word: str) -> None:
    found = verdict_on("feature_distance", feature_distance=value, feature_distance_null=0.02, feature_distance_p=p)
    assert found == Verdict(f"data: 0.02, p {p}", word, word in ("within noise", "close"))


@pytest.mark.parametrize(("value", "good"), [(1.0, True), (0.9, True), (0.8, False)])
def test_coverage_is_reached_by_nine_of_ten_classes(value: float, good: bool) -> None:
    assert verdict_on("coverage", coverage=value, coverage_null=1.0).good is good


def test_coverage_of_the_data_themselves_is_enough() -> None:
    """Two samples of the data miss classes, too, where rows are few."""
    assert verdict_on("coverage", coverage=0.8, coverage_null=0.8).good is True
    assert verdict_on("coverage", coverage=0.7, coverage_null=0.8).good is False


@pytest.mark.parametrize(("value", "word"), [(0.2, "copies"), (0.75, "new"), (1.3, "new"), (2.0, "off the data")])
def test_nn_ratio_separates_copies_from_new_samples(value: float, word: str) -> None:
    assert verdict_on("nn_ratio", nn_ratio=value, nn_ratio_se=0.03) == Verdict("1 ± 0.03", word, word == "new")


@pytest.mark.parametrize("value", [0.6, 1.6])
def test_nn_ratio_within_two_errors_of_one_is_new(value: float) -> None:
    assert verdict_on("nn_ratio", nn_ratio=value, nn_ratio_se=0.31).word == "new"
    assert verdict_on("nn_ratio", nn_ratio=value, nn_ratio_se=0.1).word != "new"


@pytest.mark.parametrize(
    ("value", "error", "word"),
    [
        (0.4994, 0.0053, "no better than guessing"),
        (0.5105, 0.0053, "no better than guessing"),
        (0.4885, 0.0053, "the wrong way round"),
        (0.5115, 0.0053, "partly told apart"),
        (0.5, None, "no better than guessing"),
    ],
)
def test_auroc_near_a_half_is_guessing(value: float, error: float | None, word: str) -> None:
    assert verdict_on("ood_auroc", ood_auroc=value, ood_auroc_se=error)[1:] == (word, False)


@pytest.mark.parametrize("kind", ["", "_uniform", "_shuffled", "_other"])
def test_auroc_is_graded_for_every_kind_of_rows(kind: str) -> None:
    key = f"eval/ood_auroc{kind}"
    words = [verdict(key, {key: value}).word for value in (0.99, 0.7, 0.3)]
    assert words == ["told apart", "partly told apart", "the wrong way round"]


def test_classifier_accuracy_names_guessing() -> None:
    found = verdict_on("classifier_accuracy", classifier_accuracy=0.4, classifier_accuracy_null=0.1)
    assert found == Verdict("guessing: 0.1", "unreliable", False)
    assert verdict_on("classifier_accuracy", classifier_accuracy=0.97).word == "reliable"


@pytest.mark.parametrize(("value", "word"), [(1.01, "right"), (1.5, "too hot"), (0.5, "too cold")])
def test_chain_temperature_is_compared_with_one(value: float, word: str) -> None:
    found = verdict_on("chain_temperature", chain_temperature=value, chain_temperature_se=0.001)
    assert found == Verdict("1 ± 0.001", word, word == "right")


def test_uncertain_chain_temperature_is_within_noise() -> None:
    """A temperature of 1.5 ± 0.3 is not known to be right, and not known to be wrong."""
    assert verdict_on("chain_temperature", chain_temperature=1.5, chain_temperature_se=0.3).word == "within noise"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rhat", 1.009, Verdict("< 1.01", "mixed", True)),
        ("rhat", 1.01, Verdict("< 1.01", "not mixed", False)),
        ("ess_bulk", 401.0, Verdict("> 400", "enough", True)),
        ("ess_tail", 400.0, Verdict("> 400", "too few", False)),
        ("acceptance", 0.4, Verdict("0.4 to 0.9", "fine", True)),
        ("acceptance", 0.95, Verdict("0.4 to 0.9", "too high")),
        ("acceptance", 0.39, Verdict("0.4 to 0.9", "too low", False)),
    ],
)
def test_chains_are_graded_by_published_thresholds(key: str, value: float, expected: Verdict) -> None:
    assert verdict(f"sampler/{key}", {f"sampler/{key}": value}) == expected


def test_verdict_is_empty_without_a_rule_or_a_number() -> None:
    assert verdict_on("unregistered", unregistered=1.0) == Verdict()
    assert verdict_on("kl", kl=None) == Verdict()
    assert verdict_on("kl") == Verdict()


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.29, 0.1, Verdict("0 ± 0.1, D T = 10", "within noise", True)),
        (-0.2, 0.01, Verdict("0 ± 0.01, D T = 10", "small", True)),
        (0.31, 0.1, Verdict("0 ± 0.1, D T = 10", "biased", False)),
    ],
)
def test_virial_is_graded_by_its_noise_and_by_its_share(value: float, error: float, expected: Verdict) -> None:
    values = {"sampler/virial": value, "sampler/virial_se": error, "sampler/virial_exact": 10}
    assert verdict("sampler/virial", values) == expected
    # A few draws, which have no standard error, show no bias.
    del values["sampler/virial_se"]
    assert verdict("sampler/virial", values) == Verdict("0, D T = 10")


def test_virial_of_chains_that_have_not_met_is_no_bias() -> None:
    values = {"sampler/virial": 3.9, "sampler/virial_exact": 10, "sampler/rhat": 1.2}
    assert verdict("sampler/virial", values) == Verdict("0, D T = 10", "not mixed")
    known = {**values, "sampler/virial_se": 1.0}
    assert verdict("sampler/virial", known) == Verdict("0 ± 1, D T = 10", "not mixed", False)
    assert verdict("sampler/virial", {**known, "sampler/rhat": 1.09}).word == "biased"


@pytest.mark.parametrize(("n_chains", "quantile"), [(1, 3.447), (20, 3.447), (100, 3.078), (10_000, 3.001)])
def test_virial_beyond_a_quantile_of_t_is_biased(n_chains: int, quantile: float) -> None:
    """As rare as three standard deviations of a normal number: t with 19, 99 and 9,999 degrees of freedom."""
    values = {"sampler/virial_se": 1.0, "sampler/virial_exact": 10, "sampler/n_chains": n_chains}
    found = [verdict("sampler/virial", {**values, "sampler/virial": quantile + d}).word for d in (-0.001, 0.001)]
    assert found == ["within noise", "biased"]


def test_acceptance_is_graded_by_the_range_of_its_sampler() -> None:
    values = {"sampler/acceptance_low": 0.15, "sampler/acceptance_high": 0.5}
    found = [verdict("sampler/acceptance", {**values, "sampler/acceptance": rate}) for rate in (0.1, 0.3, 0.6)]
    assert found == [
        Verdict("0.15 to 0.5", "too low", False),
        Verdict("0.15 to 0.5", "fine", True),
        Verdict("0.15 to 0.5", "too high"),
    ]


def test_ess_of_chains_that_have_not_mixed_is_not_enough() -> None:
    assert verdict("sampler/ess_bulk", {"sampler/ess_bulk": 1361.0, "sampler/rhat": 1.1}).word == "not mixed"
    assert verdict("sampler/ess_bulk", {"sampler/ess_bulk": 1361.0, "sampler/rhat": 1.09}).word == "enough"
    assert verdict("sampler/ess_bulk", {"sampler/ess_bulk": 300.0, "sampler/rhat": 2.0}).word == "not mixed"


@pytest.mark.parametrize(
    ("ess", "expected"),
    [
        (400.0, Verdict("> 400, of 400 draws", "few draws", False)),
        (199.0, Verdict("> 400, of 400 draws", "correlated", False)),
        (401.0, Verdict("> 400", "enough", True)),
    ],
)
def test_small_ess_is_of_few_draws_or_of_correlated_ones(ess: float, expected: Verdict) -> None:
    assert verdict("sampler/ess_tail", {"sampler/ess_tail": ess, "sampler/n_draws": 400}) == expected


def test_stuck_chains_and_non_finite_draws_are_bad() -> None:
    values = {"sampler/never_moved": 3, "sampler/n_chains": 10, "sampler/non_finite": 7, "sampler/n_draws": 100}
    assert verdict("sampler/never_moved", values) == Verdict("of 10 chains", "stuck", False)
    assert verdict("sampler/non_finite", values) == Verdict("of 100 draws", "diverged", False)
    none = {"sampler/never_moved": 0, "sampler/non_finite": 0}
    assert [verdict(key, none).word for key in none] == ["none stuck", "all finite"]
