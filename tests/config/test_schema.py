"""Schemas: ranges of the keys."""

from dataclasses import replace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ebm_cli.config.groups import conf_dir
from ebm_cli.config.schema import CompareKeys, EvalKeys, TrainKeys


@pytest.fixture(scope="module")
def keys() -> TrainKeys:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg: Any = OmegaConf.to_container(compose("train"))
    own = {name: cfg[name] for name in TrainKeys.__dataclass_fields__}
    evaluation = {name: cfg["eval"][name] for name in EvalKeys.__dataclass_fields__}
    return TrainKeys(**own | {"eval": EvalKeys(**evaluation)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"log_every": 0}, "log_every must be >= 1, got 0"),
        ({"clip_grad_norm": -1.0}, "clip_grad_norm must be > 0, got -1.0"),
        ({"max_seconds": float("inf")}, "max_seconds must be finite, got inf"),
        ({"ema": 1.0}, "ema must be >= 0 and < 1, got 1.0"),
        ({"metrics": []}, "metrics must name at least one group of results, got []"),
        ({"threads": 10**6}, "threads must be <= "),
        ({"patience": 3, "eval_every": None}, "patience=3 counts evaluations: set eval_every to a number of steps"),
    ],
)
def test_train_keys_refuse_values_out_of_range(keys: TrainKeys, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        replace(keys, **changes)
    assert str(refused.value).startswith(message)


def test_train_keys_accept_options_that_are_off(keys: TrainKeys) -> None:
    replace(keys, clip_grad_norm=None, max_seconds=None, eval_every=None, checkpoint_every=None)


@pytest.mark.parametrize("words", [[], ["a", "a"], ""])
def test_compare_keys_refuse_lists_that_are_empty_or_repeat(words: Any) -> None:
    with pytest.raises(ValueError, match=r"^runs must have at least one entry, and none twice"):
        CompareKeys(runs=words, by="method", metrics="auto", pictures=False, trust=[])
