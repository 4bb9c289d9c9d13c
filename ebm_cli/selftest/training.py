"""Checks of training on each device beside the CPU, which has its own tests: `ebm check device=cuda`.

For each method, in float32 and float64: a step that gives the numbers of the CPU, from the same rows and random
numbers; steps in which the host waits for nothing; two equal runs; a checkpoint that goes to the CPU and back; memory
that is returned; the time of a step. Then the switches of precision, and compiled derivatives.

Every check is a function of the device, so that the tests of a machine without one take the CPU in its place.
"""

import gc
import math
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ebm_cli.datasets.batches import Batches
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.selftest.device_modes import DrawnOnCPU, places, waits
from ebm_cli.selftest.device_precision import compiled_facts, precision_facts
from ebm_cli.selftest.harness import Check, Fact, Harness, Skip
from ebm_cli.selftest.tolerances import relative_error
from ebm_cli.system.device import deterministic
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer

CPU = torch.device("cpu")
BATCH, N_FIRST, N_STEPS, N_TIMED = 64, 2, 3, 50
"""Rows; steps that make what is made once (the second packs the optimizer's state); steps that are counted; timed."""
BOUNDS = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Precision → bound of the relative error of loss, gradient and weights against the CPU in the same precision."""
MIB = 2**20


def training_checks(harness: Harness) -> Iterator[Check]:
    """The checks of every device but the CPU."""
    devices = [device for device in harness.devices if device.type != "cpu"]
    for device in devices:
        for name in harness.options("method"):
            yield Check(name, partial(method_facts, harness, name, device))
        yield Check("precision", partial(precision_facts, harness, device))
        yield Check("compile=always", partial(compiled_facts, harness, device))
    if not devices:
        yield Check("cpu", lambda: iter([Skip("", "this machine has no other device, and the tests cover this one")]))


def method_facts(harness: Harness, name: str, device: torch.device) -> Iterator[Fact | Skip]:
    """All facts about training by one method on one device."""
    for dtype in BOUNDS:
        try:
            torch.zeros(1, dtype=dtype, device=device)
        except TypeError as error:  # torch raises it on MPS, which has no float64
            yield Skip(f"step, {_word(dtype)}", str(error))
            continue
        yield step_fact(harness, name, device, dtype)
    cfg = config_of(harness, name, device, torch.float32)
    yield waits_fact(cfg)
    yield repeated_fact(cfg)
    yield from checkpoint_facts(cfg)
    yield from memory_and_time(cfg)


def config_of(harness: Harness, name: str, device: torch.device, dtype: torch.dtype) -> DictConfig:
    """The config of a short run, on this device."""
    words = {"seed": harness.seed, "batch_size": BATCH, "log_every": 100, "steps": 100}
    cfg = harness.config(f"method={name}", *(f"{key}={value}" for key, value in words.items()))
    merged = OmegaConf.merge(cfg, {"device": device.type, "dtype": _word(dtype)})
    assert isinstance(merged, DictConfig)
    return merged


def begun(cfg: DictConfig) -> Trainer:
    """A trainer before its first step."""
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    trainer.prepare(parts.dataset.reference)
    return trainer


class _Rows(Batches):
    """The same rows every time."""

    def __init__(self, rows: Tensor) -> None:
        self.batch_size, self._rows = len(rows), rows

    def next(self) -> Tensor:
        return self._rows

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        return


def step_fact(harness: Harness, name: str, device: torch.device, dtype: torch.dtype) -> Fact:
    """Loss, gradient and weights after a step, against those of the CPU from the same state and random numbers."""
    here, there = (begun(config_of(harness, name, place, dtype)) for place in (CPU, device))
    there.load_state_dict(here.state_dict())
    rows, found = here.batches.next(), []
    for trainer, place in ((here, CPU), (there, device)):
        trainer.batches, trainer.rng = _Rows(rows.to(place)), harness.rng(f"training/{name}")
        with DrawnOnCPU():
            out = trainer.advance()
        flat = trainer.players[out.player].flat
        found.append((out.loss, trainer.grad_norm, flat.gradients, flat.values))
    error = max(relative_error(a, b) for b, a in zip(*found, strict=True))
    return Fact(f"step, {_word(dtype)}", error, BOUNDS[dtype], "relative")


def waits_fact(cfg: DictConfig) -> Fact:
    """Waits of the host in the steps between two readings: fce and cd make one at every fifth step."""
    trainer = begun(cfg)
    for _ in range(N_FIRST):
        trainer.advance()
    with waits(trainer.rng.device) as found:
        for _ in range(N_STEPS):
            trainer.advance()
        where = places(found())
    return Fact(f"waits in {N_STEPS} steps" + f" ({where})" * bool(where), len(found()), 0.0, "waits")


def repeated_fact(cfg: DictConfig) -> Fact:
    """Weights of two equal runs, with deterministic algorithms."""
    with deterministic():
        first, second = (_trained(cfg).players["energy"].flat.values for _ in range(2))
    return Fact("two equal runs", int((first != second).sum()), 0.0, "differ")


def checkpoint_facts(cfg: DictConfig) -> Iterator[Fact]:
    """A checkpoint of the device is continued on the CPU, and one of the CPU on the device: the same weights."""
    trainer = _trained(cfg)
    for place, device in (("the CPU", "cpu"), ("the device", cfg.device)):
        cfg = cast(DictConfig, OmegaConf.merge(cfg, {"device": device}))
        state, other = _through_a_file(trainer.state_dict()), begun(cfg)
        other.load_state_dict(state)
        pairs = list(zip(_values(trainer), _values(other), strict=True))
        differ = sum(int((a != b).sum()) for a, b in pairs)
        out = other.advance()
        if not bool(out.loss.isfinite()):
            differ += 1
        yield Fact(f"checkpoint, to {place}", differ, 0.0, "differ")
        trainer = other


def memory_and_time(cfg: DictConfig) -> Iterator[Fact | Skip]:
    """Memory that a run leaves allocated, and the time of a step."""
    device = _trained(cfg).rng.device  # what a library keeps for itself is allocated now
    before = allocated(device)
    trainer = _trained(cfg)
    began = _now(device)
    for _ in range(N_TIMED):
        trainer.advance()
    seconds = _now(device) - began
    del trainer
    after = allocated(device)
    if before is None or after is None:
        yield Skip("memory returned", f"torch does not say what is allocated on {device.type}")
    else:
        yield Fact("memory not returned", (after - before) / MIB, 0.1, "MiB")
    yield Fact("time of a step", 1e3 * seconds / N_TIMED, math.inf, "ms")


def allocated(device: torch.device) -> int | None:
    """Bytes that tensors have on a device; None where torch does not count them."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return torch.mps.current_allocated_memory() if device.type == "mps" else None


def _trained(cfg: DictConfig) -> Trainer:
    trainer = begun(cfg)
    for _ in range(N_STEPS):
        trainer.advance()
    return trainer


def _values(trainer: Trainer) -> Iterator[Tensor]:
    """All tensors of the parts that a step changes, on the CPU."""
    for module in (trainer.energy, trainer.method):
        yield from (value.cpu() for value in module.state_dict().values() if isinstance(value, Tensor))
    for player in trainer.players.values():
        for state in player.optimizer.state_dict()["state"].values():
            yield from (value.cpu() for value in state.values() if isinstance(value, Tensor))


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A trainer's state, written to a checkpoint and read again."""
    needed = {name: kind() for name, kind in checkpoints.REQUIRED.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.pt")
        checkpoints.save(file, needed | state)
        return checkpoints.read(file)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
