"""Tags and settings on TensorBoard's pages."""

import pytest

from ebm_cli.evaluation.result_list import RESULTS
from ebm_cli.reporting.board_tags import settings_shown, tag_of

CONFIG = {"seed": 3, "steps": 50, "log_every": 9, "method": {"_target_": "a.B", "k": 2}, "metrics": ["density"]}
CHOICES = {"method": "cd", "dataset": "moons", "energy": "mlp", "pairing": "mlp_cd", "table": "other_cd"}


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        ("eval/kl", "eval/kl"),
        ("eval/fisher", "evaluation/fisher"),
        ("val/nll", "eval_validation/nll"),
        ("cost/seconds", "train_cost/seconds"),
        ("train/loss", "train/loss"),
        ("loss", "loss"),
    ],
)
def test_tag_of_a_key(key: str, tag: str) -> None:
    assert tag_of(key) == tag


def test_main_results_come_before_all_other_tags() -> None:
    keys = [result.key for result in RESULTS if not result.key.startswith("density/")] + ["val/nll"]
    tags = sorted(tag_of(key, {"eval/fisher"}) for key in keys)
    assert tags[:3] == ["eval/fisher", "eval/kl", "eval/nll"]
    assert len(set(tags)) == len(set(keys))


def test_settings_are_those_that_tell_runs_apart_and_those_typed() -> None:
    typed = ["method=cd", "method.k=2", "log_every=9", "hydra/launcher=joblib", "+note=x"]
    shown = settings_shown(CONFIG, CHOICES, typed)
    assert shown == {"method": "cd", "dataset": "moons", "energy": "mlp", "seed": 3, "method.k": 2}


def test_setting_that_is_a_list_is_shown_as_text() -> None:
    config = {"seed": 1, "dataset": {"columns": ["a", "b"]}}
    assert settings_shown(config, {}, ["dataset.columns=[a,b]"]) == {"seed": 1, "dataset.columns": "['a', 'b']"}
