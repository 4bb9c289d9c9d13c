"""A subject of the self-test with one option alone: a class of a test file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from ebm_cli.selftest import Harness, examine
from tests.support import outcomes


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The outcomes of a subject whose group has one option: this class, with these keys."""

    def examined(name: str, group: str, cls: type, **keys: Any) -> dict[str, str]:
        option = tmp_path / group / "mine.yaml"
        option.parent.mkdir(exist_ok=True)
        option.write_text(yaml.safe_dump({"_target_": f"{cls.__module__}.{cls.__name__}", **keys}))

        def compose(words: Sequence[str]) -> DictConfig:
            (chosen,) = (word for word in words if "=mine" in word)
            return OmegaConf.create({group: OmegaConf.load(tmp_path / f"{chosen.replace('=', '/')}.yaml")})

        return outcomes(examine(Harness(compose, [tmp_path], 0, [torch.device("cpu")]), name))

    return examined
