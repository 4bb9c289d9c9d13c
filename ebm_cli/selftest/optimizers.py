"""Checks of the optimizers and learning rate schedules: the first steps on known gradients, and the rates of a run.

A step is that of a run, in one flat buffer. With gradients g₁, g₂ and the rate η, in float64,

    SGD           θ ← θ − η g₁,   θ ← θ − η (μ g₁ + g₂)
    Adam, AdamW   θ ← (1 − η λ) θ − η m̂/(√v̂ + ε),  m̂ and v̂ the means of g and g² with their decay corrected
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from ebm_cli.selftest.harness import Check, Fact, Harness, Skip
from ebm_cli.selftest.tolerances import RELATIVE, relative_error
from ebm_cli.training.player import Player

N_STEPS, RATE = 200, 0.01
"""Steps of a run whose rates are checked, and the rate that its schedule is given."""
START, GRADIENTS = (1.0, -2.0, 0.5), ((0.3, -4.0, 1e-3), (-0.2, -1.0, 2.0))


def optimizer_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the groups `optimizer` and `schedule`."""
    for name in harness.options("optimizer"):
        yield Check(name, partial(_optimizer_facts, harness, name))
    for name in harness.options("schedule"):
        yield Check(name, partial(_schedule_facts, harness, name))


def _optimizer_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    theta = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer: Optimizer = harness.build("optimizer", name, Optimizer, params=[theta])
    expected = _trajectory(optimizer)
    if expected is None:
        yield Skip("known value", f"no step of {type(optimizer).__name__} is known in closed form")
        return
    player = Player([theta], optimizer, lambda of: ConstantLR(of, 1.0, 0))
    for i, (gradient, value) in enumerate(zip(GRADIENTS, expected, strict=True)):
        player.step((theta * torch.tensor(gradient, dtype=theta.dtype)).sum(), math.inf)
        yield Fact(f"step {i + 1}", relative_error(theta, value), RELATIVE, "relative")


def _trajectory(optimizer: Optimizer) -> list[Tensor] | None:
    """The parameters after each of the GRADIENTS; None for an optimizer whose step is not known here."""
    keys, x = optimizer.param_groups[0], torch.tensor(START, dtype=torch.float64)
    lr, m, v, found = keys["lr"], torch.zeros_like(x), torch.zeros_like(x), []
    for t, gradient in enumerate(GRADIENTS, 1):
        g = torch.tensor(gradient, dtype=torch.float64)
        if type(optimizer) is SGD:
            m = keys["momentum"] * m + g
            x = x - lr * m
        elif type(optimizer) in (Adam, AdamW):
            (a, b), decay = keys["betas"], keys["weight_decay"] if type(optimizer) is AdamW else 0.0
            m, v = a * m + (1 - a) * g, b * v + (1 - b) * g.square()
            x = (1 - lr * decay) * x - lr * m / (1 - a**t) / ((v / (1 - b**t)).sqrt() + keys["eps"])
        else:
            return None
        found.append(x)
    return found


def _schedule_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    given: dict[str, Any] = {"T_max": N_STEPS, "total_steps": N_STEPS + 1, "max_lr": RATE}
    schedule: LRScheduler = harness.build("schedule", name, LRScheduler, optimizer=optimizer, **given)
    # torch keeps the share of the steps in which a one-cycle schedule rises in private attributes.
    rate = _rate(schedule, harness.config(f"schedule={name}").schedule.get("pct_start", 0.3))
    if rate is None:
        yield Skip("known value", f"no rate of {type(schedule).__name__} is known in closed form")
        return
    found = []
    for _ in range(N_STEPS + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) <= N_STEPS:
            schedule.step()
    error = max(abs(lr - rate(t)) for t, lr in enumerate(found)) / RATE
    yield Fact(f"rates of {N_STEPS} steps", error, RELATIVE, "relative")


def _rate(schedule: LRScheduler, rising: float) -> Callable[[int], float] | None:
    """The rate of step t in closed form; None for a schedule that is not known here."""
    keys: Any = schedule
    if isinstance(schedule, ConstantLR):
        return lambda t: RATE * (keys.factor if t < keys.total_iters else 1.0)
    if isinstance(schedule, CosineAnnealingLR):
        return lambda t: _cosine(RATE, keys.eta_min, t / N_STEPS)
    if isinstance(schedule, OneCycleLR):
        group = schedule.optimizer.param_groups[0]
        peak = rising * (N_STEPS + 1) - 1

        def one_cycle(t: int) -> float:
            if t <= peak:
                return _cosine(group["initial_lr"], RATE, t / peak)
            return _cosine(RATE, group["min_lr"], (t - peak) / (N_STEPS - peak))

        return one_cycle
    return None


def _cosine(start: float, end: float, share: float) -> float:
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * share))
