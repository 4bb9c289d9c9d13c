"""Checks of the methods: their known values, and a few steps on each device that are finite and change the weights."""

from collections.abc import Iterator
from functools import partial

import torch

from ebm_cli.runs.assemble import assemble
from ebm_cli.selftest.harness import Check, Fact, Harness
from ebm_cli.selftest.objectives import objective_facts
from ebm_cli.training.build import make_trainer

N_STEPS, BATCH = 3, 64


def method_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the group `method`, on each device."""
    for name in harness.options("method"):
        yield Check(name, partial(objective_facts, harness, name))
        for device in harness.devices:
            yield Check(name, partial(_option_facts, harness, name, device.type))


def _option_facts(harness: Harness, name: str, device: str) -> Iterator[Fact]:
    words = {"device": device, "seed": harness.seed, "batch_size": BATCH, "log_every": N_STEPS}
    cfg = harness.config(f"method={name}", *(f"{key}={value}" for key, value in words.items()))
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    before = [p.detach().clone() for p in parts.energy.parameters()]
    n_bad = 0
    for _ in range(N_STEPS):
        out = trainer.advance()
        numbers = [out.loss, trainer.grad_norm, *out.metrics.values(), *parts.energy.parameters()]
        n_bad += sum(int((~torch.isfinite(number.detach())).sum()) for number in numbers)
    if all(torch.equal(p, old) for p, old in zip(parts.energy.parameters(), before, strict=True)):
        raise ValueError(f"no weight changed in {N_STEPS} steps on {device}")
    yield Fact(f"{N_STEPS} steps on {device}", n_bad, 0.0, "not finite")
