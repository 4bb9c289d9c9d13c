"""The processes of `ebm evaluate` measure one checkpoint; whole commands are in `test_processes`."""

from typing import Any

import pytest

from ebm_cli.errors import UserError
from ebm_cli.system.ranks import ONE, Ranks
from ebm_cli.training.measuring import require_same_step
from tests.ranks import together


class Model:
    path = "run/checkpoints/last.pt"

    def __init__(self, step: int) -> None:
        self.step = step


def meet(*steps: int) -> None:
    def work(ranks: Ranks) -> None:
        model: Any = Model(steps[ranks.index])
        require_same_step(model, ranks)

    together(len(steps), work)


def test_checkpoint_that_changed_meanwhile_is_named() -> None:
    with pytest.raises(UserError, match=r"checkpoint=run/checkpoints/last\.pt: another one has taken its place"):
        meet(10, 10, 20)
    meet(10, 10, 10)
    alone: Any = Model(3)
    require_same_step(alone, ONE)
