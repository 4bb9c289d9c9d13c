"""Steps of torch's optimizers without hooks and warnings."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from ebm_cli.optim.step import fast_step
from tests.optim.problems import Halving, made


def test_fast_step_refuses_an_optimizer_with_a_closure() -> None:
    with pytest.raises(ValueError, match="optimizer must step without a closure, got LBFGS"):
        fast_step(torch.optim.LBFGS(made()))


def test_fast_step_follows_a_schedule_without_a_warning() -> None:
    (p,) = parameters = [nn.Parameter(torch.ones(3))]
    optimizer = SGD(parameters, lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step, schedule = fast_step(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(2):
            p.grad = torch.ones(3)
            step()
            schedule.step()
    assert p.tolist() == [1 - 0.5 - 0.25] * 3


@pytest.mark.parametrize("make", [Halving, lambda p: SGD(p, lr=0.1)])
def test_schedule_may_lead_its_optimizer(make: Callable[[Any], Optimizer]) -> None:
    """The schedule of a player whose turn has not come yet advances with the global step."""
    optimizer = make([nn.Parameter(torch.ones(3))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast_step(optimizer)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        schedule.step()
        schedule.step()


def test_torch_warns_of_a_leading_schedule() -> None:
    """Negative control of the test above."""
    optimizer = SGD([nn.Parameter(torch.ones(3))], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="before `optimizer"):
            schedule.step()


def test_fast_step_calls_no_hooks() -> None:
    (p,) = parameters = [nn.Parameter(torch.ones(3))]
    optimizer = SGD(parameters, lr=0.5)
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    p.grad = torch.ones(3)
    fast_step(optimizer)()
    assert seen == []
    optimizer.step()
    assert seen == [1]
    assert p.tolist() == [0.0] * 3
