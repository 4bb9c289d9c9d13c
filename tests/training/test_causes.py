"""Causes of results that are not good: one rule, one symptom, one key to change."""

from typing import Any

import pytest

from ebm_cli.datasets.findings import Finding, RowKind
from ebm_cli.evaluation.values import Value
from ebm_cli.training.causes import RULES, Evidence, causes

POOR: dict[str, Value] = {"eval/overall": "poor"}


def node(name: str, **keys: Any) -> dict[str, Any]:
    return {"_target_": f"ebm_cli.parts.{name}", **keys}


def config(method: dict[str, Any], noise: str = "Gaussian", **keys: Any) -> dict[str, Any]:
    base = {
        "steps": 8000,
        "clip_grad_norm": 100.0,
        "optimizer": node("Adam", lr=0.003),
        "noise": node(noise),
        "energy": node("MLP", base=0.2),
    }
    return base | {"method": method} | keys


def log(key: str, *values: float, steps: int = 8000) -> list[dict[str, Value]]:
    """Lines of a training log, the last of them of the last step."""
    return [{"step": steps * (i + 1) // len(values), key: value} for i, value in enumerate(values)]


def found(
    cfg: dict[str, Any],
    history: list[dict[str, Value]] | None = None,
    width: float | None = None,
    **results: Value,
) -> str:
    """All findings of the rules in one text; a log of 8,000 steps in which nothing is remarkable if there is none."""
    evidence = evidence_of(cfg, history, width, results)
    return " ".join(sentence for rule in RULES for sentence in rule(evidence))


def told(cfg: dict[str, Any], history: list[dict[str, Value]] | None = None, **results: Value) -> str:
    """All that a reader is told, in one text."""
    return " ".join(causes(evidence_of(cfg, history, None, results)))


def evidence_of(
    cfg: dict[str, Any], history: list[dict[str, Value]] | None, width: float | None, results: dict[str, Value]
) -> Evidence:
    named = {key if "/" in key else f"eval/{key}": value for key, value in results.items()}
    return Evidence(POOR | named, history or log("train/loss", 1.0), cfg, lambda: width)


def test_run_without_a_symptom_is_told_the_limit_of_its_method() -> None:
    history = log("train/accuracy", 0.9, 0.8, 0.8, 0.8)
    assert found(config(node("NCE")), history) == ""
    assert "choose method=cd" in told(config(node("NCE")), history, mmd_p=0.001)
    assert "its chains of 5 steps come: raise method.k" in told(config(node("CD", k=5)), mmd_p=0.001)
    assert "blurred with method.sigma=0.3" in told(config(node("DSM", sigma=0.3)), kl=0.4)
    assert "another method" in told(config(node("Mine")), kl=0.4)


@pytest.mark.parametrize("overall", ["fair", "poor"])
@pytest.mark.parametrize("method", ["CD", "DSM", "FCE", "MLE", "NCE", "SM", "SSM", "Mine"])
def test_every_word_below_close_has_a_cause(method: str, overall: str) -> None:
    assert told(config(node(method)), overall=overall, mmd_p=0.001)
    assert told(config(node(method)), overall=overall, nll_vs_gaussian=-0.1)


@pytest.mark.parametrize(
    ("results", "cause"),
    [
        ({"overall": "fair", "kl": 0.05, "kl_se": 0.04}, "the error of KL, 0.04 nats"),
        ({"overall": "fair", "kl": -0.5, "kl_se": 0.01}, "the estimate of log Z is at fault"),
        ({"overall": "fair", "nll_vs_gaussian": -0.3}, "metrics=[density,samples]"),
        ({"overall": "broken", "mmd_p": 0.5}, "raise energy.base"),
    ],
)
def test_cause_that_is_not_the_method_is_named(results: dict[str, Value], cause: str) -> None:
    assert cause in told(config(node("NCE")), **results)


def test_unbounded_likelihood_is_no_fault_of_training() -> None:
    """The sentence on top names the column and its cure; without it nothing would be said."""
    constant = Finding("constant", (2,), 3.0, "column 2 is constant (3)", "", "set dataset.drop=2", (2,))
    history = log("train/loss", 1.0, steps=300)
    results: dict[str, Value] = {"eval/unbounded": "column 2 is constant (3); set dataset.drop=2"}
    assert causes(Evidence(results, history, config(node("NCE"), steps=300), data=[constant])) == []
    judged = causes(Evidence({"eval/overall": "right"}, history, config(node("NCE")), data=[constant]))
    assert judged == ["Data: column 2 is constant (3); set dataset.drop=2"]


def test_images_without_convolutions_are_a_cause() -> None:
    images = Finding("images", (), 64.0, "the rows are images", "", "set energy=conv")
    assert "set energy=conv" in causes(Evidence(POOR, (), config(node("NCE")), data=[images]))[0]
    assert causes(Evidence({"eval/overall": "close"}, (), config(node("NCE")), data=[images])) == []


@pytest.mark.parametrize("word", ["right", "close"])
def test_good_run_is_asked_for_no_cause(word: str) -> None:
    history = log("train/accuracy", 1.0, 1.0, 1.0, 1.0)
    assert causes(Evidence({"eval/overall": word}, history, config(node("NCE")))) == []


@pytest.mark.parametrize(
    ("energy", "patience", "cure"),
    [
        ("MLP", None, "energy=tilted"),
        ("Tilted", None, "patience=5"),
        ("Tilted", 5, "energy.reference=mixture"),
    ],
)
def test_mixture_that_is_better(energy: str, patience: int | None, cure: str) -> None:
    cfg = config(node("NCE"), energy=node(energy), patience=patience)
    text = found(cfg, nll_vs_gaussian=-0.5, nll_vs_mixture=0.2, nll_vs_mixture_se=0.01)
    assert text.startswith("A mixture of Gaussians, fitted in seconds, is better by 0.2000 ± 0.01000 nats a row")
    assert cure in text
    assert found(cfg, nll_vs_gaussian=-0.5, nll_vs_mixture=-0.2) == ""


@pytest.mark.parametrize(
    ("noise", "cure"),
    [
        ("Gaussian", "noise=mixture or noise=flow"),
        ("Uniform", "noise=gaussian, noise=mixture or noise=flow"),
        ("FittedMixture", "noise=flow."),
        ("CouplingFlow", "method.fit_steps=10000"),
    ],
)
def test_nce_without_errors_needs_a_closer_noise(noise: str, cure: str) -> None:
    text = found(config(node("NCE"), noise), log("train/accuracy", 0.6, 0.9, 1.0, 1.0))
    assert "accuracy 1.000" in text
    assert "choose a noise closer to the data" in text
    assert cure in text


@pytest.mark.parametrize(
    ("method", "cure"),
    [
        (node("CNCE", eps=0.5), "lower method.eps (now 0.5)"),
        (node("Bridges", n_bridges=4), "raise method.n_bridges (now 4)"),
    ],
    ids=["cnce", "bridges"],
)
def test_classifiers_without_errors_have_cures_of_their_own(method: dict[str, Any], cure: str) -> None:
    """cnce has no noise, and the accuracy of bridges is that of one of them."""
    text = found(config(method), log("train/accuracy", 1.0, 1.0, 1.0, 1.0))
    assert cure in text
    assert "closer to the data" not in text


def test_fce_without_errors_leaves_its_flow_behind() -> None:
    text = found(config(node("FCE", flow_lr=0.001)), log("train/accuracy", 0.99, 0.99, 0.99, 0.99))
    assert "the flow is left behind" in text
    assert "raise method.flow_lr (now 0.001)" in text


@pytest.mark.parametrize(("sigma", "width", "is_hidden"), [(0.5, 0.1, True), (0.04, 0.1, False), (0.5, None, False)])
def test_sigma_wider_than_the_narrowest_mode_hides_it(sigma: float, width: float | None, is_hidden: bool) -> None:
    text = found(config(node("DSM", sigma=sigma)), width=width)
    assert ("Set method.sigma=0.02, or method=sm" in text) == is_hidden


def test_hot_unadjusted_chains_need_a_smaller_step() -> None:
    cd = config(node("CD", k=5, start="data", sampler=node("Langevin", step_size=0.1)))
    assert "lower sampler.step_size (now 0.1), or choose sampler=mala" in found(cd, chain_temperature=1.4)
    assert found(cd, chain_temperature=1.01) == ""


@pytest.mark.parametrize(("start", "names_pcd"), [("data", True), ("persistent", False)])
def test_cold_chains_need_more_steps(start: str, names_pcd: bool) -> None:
    cd = config(node("CD", k=5, start=start, sampler=node("MALA", step_size=0.1)))
    text = found(cd, chain_temperature=0.4)
    assert "too cold" in text
    assert "raise method.k (now 5)" in text
    assert ("method=pcd" in text) == names_pcd


def test_chains_that_accept_nothing_need_a_smaller_step() -> None:
    cd = config(node("CD", k=5, start="data", sampler=node("MALA", step_size=3.0)))
    text = found(cd, log("train/acceptance", 0.5, 0.1, 0.01, 0.01))
    assert "accept 1.0% of their proposals" in text
    assert "sampler.step_size (now 3.0)" in text


@pytest.mark.parametrize(("method", "reason"), [("SM", "a score does not depend"), ("CD", "do not cross")])
def test_wrong_mode_weights_name_what_the_method_cannot_see(method: str, reason: str) -> None:
    cfg = config(node(method, k=5, sampler=node("MALA", step_size=0.1)))
    assert reason in found(cfg, mode_tv=0.3)
    assert found(cfg, mode_tv=0.01) == ""


def test_advice_knows_of_a_second_phase() -> None:
    cfg = config(node("SM"), steps=100, polish={"steps": 150})
    text = found(cfg, log("train/loss", 1.0, steps=250), mode_tv=0.3)
    assert "a longer second phase mends them: polish.steps, now 150" in text
    assert "method=nce" not in text
    assert "100 steps are few: train longer, for instance steps=5000" in text
    assert "polish=nce mends them" in found(config(node("SM")), mode_tv=0.3)


def test_probability_outside_the_data_needs_a_base() -> None:
    text = found(config(node("SM")), border_mass=0.3)
    assert "30.0% of the probability lies where there are no data" in text
    assert "energy.base, now 0.2" in text


def test_clipped_gradients_need_a_lower_learning_rate() -> None:
    cfg = config(node("SM"), optimizer=node("SGD", lr=0.01))
    assert "in 50% of the logged steps: lower optimizer.lr (now 0.01), for instance to 0.001" in found(
        cfg, log("train/grad_norm", 1e3, 1.0, 1e3, 1.0)
    )
    assert found(cfg, log("train/grad_norm", 1e3, *[1.0] * 9)) == ""


def test_learning_rate_of_adam_is_suspected() -> None:
    assert "optimizer.lr=1 is large for Adam" in found(config(node("CD"), optimizer=node("Adam", lr=1.0)))


def test_monitored_value_that_still_falls_needs_more_steps() -> None:
    text = found(config(node("SM")), log("val/nll", 3.0, 2.0, 1.5, 1.0))
    assert "from 1.500 to 1.000" in text
    assert "steps=16000" in text
    assert found(config(node("SM")), log("val/nll", 3.0, 1.1, 1.05, 1.0)) == ""


def test_few_steps_are_too_few() -> None:
    assert "200 steps are few" in found(config(node("SM"), steps=200), log("train/loss", 1.0, steps=200))
    # Training that ended before its last step, by early stopping, is not continued by more of them.
    assert "steps are few" not in found(config(node("SM"), steps=900), log("train/loss", 1.0, steps=200))


def test_run_that_max_seconds_ended_needs_more_time() -> None:
    text = found(config(node("SM"), max_seconds=2.0), log("train/loss", 1.0, steps=3000))
    assert "max_seconds=2 ended training at step 3,000 of 8,000" in text


def test_monitored_value_that_rose_needs_patience() -> None:
    text = found(config(node("SM")), log("val/nll", 3.0, 1.0, 1.5, 2.0))
    assert "rose from 1.000 to 2.000" in text
    assert "patience=3" in text
    rising = log("val/nll", 3.0, 1.0, 2.5)
    assert "patience" in found(config(node("SM")), rising)
    assert "patience" not in found(config(node("SM"), patience=5), rising)


@pytest.mark.parametrize(("kind", "longer"), [("copies", False), ("few_rows", False), ("left_out", True)])
def test_data_come_first_and_longer_training_cures_no_copies(kind: RowKind, longer: bool) -> None:
    finding = Finding(kind, (), 190, "190 of 200 rows repeat another one", "ten are to learn from", "leave them out")
    run = Evidence(POOR, log("train/loss", 1.0, steps=600), config(node("SM"), steps=600), data=[finding])
    first, *others = causes(run)
    assert first == "Data: 190 of 200 rows repeat another one: ten are to learn from; leave them out"
    assert ["600 steps are few" in text for text in others] == [True] * longer
    # A good run has no cause to look for, and its data are still what its results rest on.
    assert causes(Evidence({"eval/overall": "right"}, [], config(node("SM")), data=[finding])) == [first]
