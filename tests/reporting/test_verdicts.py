"""What a result is held against, and what it says in a word."""

import pytest

from ebm_cli.reporting.jsonl import Value
from ebm_cli.reporting.verdicts import Verdict, attendants, meanings, verdict


def of(key: str, **others: Value) -> Verdict:
    return verdict(key, {name.replace("__", "/"): value for name, value in others.items()})


@pytest.mark.parametrize(("kl", "word"), [(0.0019, "close"), (0.05, "fair"), (2.9, "far")])
def test_kl_in_a_word(kl: float, word: str) -> None:
    assert of("eval/kl", eval__kl=kl).word == word


def test_a_kl_within_its_sampling_error_is_noise_and_one_beyond_is_not() -> None:
    assert of("eval/kl", eval__kl=0.3, eval__kl_se=0.2).word == "within noise"
    assert of("eval/kl", eval__kl=0.3, eval__kl_se=0.1).word == "far"


def test_nll_stands_beside_the_entropy() -> None:
    assert of("eval/nll", eval__nll=2.9, eval__entropy=2.83).reference == "entropy 2.830"


@pytest.mark.parametrize(("value", "word"), [(-0.5, "better"), (0.5, "worse"), (0.1, "equal")])
def test_against_the_gaussian(value: float, word: str) -> None:
    assert of("eval/nll_vs_gaussian", eval__nll_vs_gaussian=value, eval__nll_vs_gaussian_se=0.1).word == word


@pytest.mark.parametrize(("p", "word"), [(0.4, "within noise"), (0.01, "differs")])
def test_a_distance_is_judged_by_its_null(p: float, word: str) -> None:
    found = of("eval/mmd", eval__mmd=0.02, eval__mmd_null=0.001, eval__mmd_p=p)
    assert found == Verdict(f"data: 0.001, p {p}", word, word == "within noise")


@pytest.mark.parametrize(
    ("value", "p", "word"), [(0.02, 0.3, "within noise"), (0.05, 0.01, "close"), (0.061, 0.01, "far")]
)
def test_a_feature_distance_is_close_up_to_three_nulls(value: float, p: float, word: str) -> None:
    found = of(
        "eval/feature_distance",
        eval__feature_distance=value,
        eval__feature_distance_null=0.02,
        eval__feature_distance_p=p,
    )
    assert found == Verdict(f"data: 0.02, p {p}", word, word != "far")


@pytest.mark.parametrize(("value", "good"), [(1.0, True), (0.9, True), (0.8, False)])
def test_nine_of_ten_classes_are_enough(value: float, good: bool) -> None:
    assert of("eval/coverage", eval__coverage=value, eval__coverage_null=1.0).good is good


@pytest.mark.parametrize(("value", "word"), [(0.2, "copies"), (0.75, "new"), (1.3, "new"), (2.0, "off the data")])
def test_the_distance_to_the_training_rows(value: float, word: str) -> None:
    found = of("eval/nn_ratio", eval__nn_ratio=value, eval__nn_ratio_se=0.03)
    assert found == Verdict("1 ± 0.03", word, word == "new")


@pytest.mark.parametrize("kind", ["", "_uniform", "_shuffled", "_other"])
def test_what_the_energy_tells_apart(kind: str) -> None:
    words = [verdict(f"eval/ood_auroc{kind}", {f"eval/ood_auroc{kind}": value}).word for value in (0.99, 0.7, 0.3)]
    assert words == ["told apart", "in part", "reversed"]


def test_a_classifier_that_guesses_is_not_believed() -> None:
    assert of("eval/classifier_accuracy", eval__classifier_accuracy=0.4, eval__classifier_accuracy_null=0.1) == Verdict(
        "guessing: 0.1", "unreliable", False
    )
    assert of("eval/classifier_accuracy", eval__classifier_accuracy=0.97).word == "reliable"


def test_a_distance_without_a_null_is_not_judged() -> None:
    assert of("eval/mmd", eval__mmd=0.02).word == ""


@pytest.mark.parametrize(("gap", "error", "good"), [(0.01, 0.0, True), (0.05, 0.0, False), (0.05, 0.03, True)])
def test_the_learned_log_z(gap: float, error: float, good: bool) -> None:
    found = of("eval/log_z_gap", eval__log_z_gap=gap, eval__log_z_se=error)
    assert found.good is good


def test_the_gap_is_explained_with_what_the_model_then_sums_to() -> None:
    (sentence,) = meanings({"eval/log_z_gap": 0.6931472})
    assert "0.693 nats above" in sentence
    assert "sums to 0.5" in sentence


def test_wrong_mode_weights_with_a_right_score_are_named() -> None:
    results: dict[str, Value] = {"eval/mode_tv": 0.3, "eval/fisher": 0.001, "eval/fisher_flat": 10.0}
    (sentence,) = meanings(results)
    assert "30.0%" in sentence
    assert "which a score does not show" in sentence
    (alone,) = meanings({**results, "eval/fisher": 5.0})
    assert "score" not in alone
    assert meanings({**results, "eval/mode_tv": 0.01}) == []


@pytest.mark.parametrize(("value", "word"), [(1.01, "right"), (1.5, "too hot"), (0.5, "too cold")])
def test_a_chains_temperature(value: float, word: str) -> None:
    results: dict[str, Value] = {"eval/chain_temperature": value, "eval/chain_temperature_se": 0.001}
    assert verdict("eval/chain_temperature", results).word == word
    assert len(meanings(results)) == (word != "right")


def test_references_have_no_row_of_their_own() -> None:
    results: dict[str, Value] = {
        "eval/mmd": 0.1, "eval/mmd_null": 0.01, "eval/mmd_p": 0.3, "eval/kl": 0.1, "eval/kl_se": 0.1,
        "eval/log_z": 1.0, "eval/log_z_method": "ais", "eval/log_z_se": 0.1, "eval/log_z_gap": 0.1, "odd_p": 1.0,
    }  # fmt: skip
    assert set(results) - attendants(results) == {"eval/mmd", "eval/kl", "eval/log_z", "eval/log_z_gap", "odd_p"}


def test_what_has_no_rule_has_no_verdict() -> None:
    assert of("eval/unheard_of", eval__unheard_of=1.0) == Verdict()
    assert of("eval/kl", eval__kl=None) == Verdict()
