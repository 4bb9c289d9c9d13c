"""Small runs for the tests of a run's life, and what compares their states."""

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ebm_cli.derivatives import detached_gradient, directional, gradient, laplacian, prepare, value_and_grad
from ebm_cli.energies import Energy
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.status import read_status
from ebm_cli.training.trainer import Trainer

REPO = Path(__file__).resolve().parents[1]


class Ran(NamedTuple):
    """The outcome of a command: its exit code and what it printed."""

    code: int
    out: str
    err: str


Ebm = Callable[..., Ran]
StandIn = Callable[..., list[Any]]


def seeded(seed: int = 0) -> torch.Generator:
    """A seeded generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    """Standard normal numbers in float64; by default their seed is another one than that of `seeded()`."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def autoregressive(n: int, n_chains: int, tau: float, dim: int = 1) -> torch.Tensor:
    """Stationary chains on N(0, I) whose correlation falls as exp(−t/τ): [n, n_chains, dim]."""
    a, noise = math.exp(-1 / tau), normal(n, n_chains, dim)
    draws = [noise[0]]
    for z in noise[1:]:
        draws.append(a * draws[-1] + math.sqrt(1 - a * a) * z)
    return torch.stack(draws)


TINY = ("energy.width=8", "batch_size=16", "log_every=1", "eval.n_samples=20", "eval.burn_in=4")
TINY += ("eval.n_temperatures=4", "eval.n_chains=10", "metrics=[density]")
"""A run of milliseconds, of any method."""

CHEAP = {"method.k": 2, "method.buffer_size": 64, "method.fit_steps": 3, "method.n_grid": 8}
CHEAP |= {"method.turn_every": 2, "method.threshold": 0.501}
"""Keys that make a method cheap, and let every player move within a few steps, where it has them."""

FAST = (*TINY, "dataset=gaussian", "dataset.density.dim=3", "metrics=[score]")
"""A run with the cheapest evaluation: no log Z, neither by a grid nor by annealing."""

METHODS = sorted(path.stem for path in (REPO / "conf" / "method").glob("*.yaml"))


@cache
def _chosen(*groups: str) -> DictConfig:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", list(groups))


def composed(*words: str) -> DictConfig:
    """The config of `ebm train WORDS`, made cheap."""
    groups = [word for word in words if (REPO / "conf" / word.partition("=")[0]).is_dir()]
    cfg = copy.deepcopy(_chosen(*groups))
    cfg.merge_with_dotlist([word for word in (*TINY, *words) if word not in groups])
    for key, value in CHEAP.items():
        if OmegaConf.select(cfg, key) is not None and not any(word.startswith(f"{key}=") for word in words):
            OmegaConf.update(cfg, key, value)
    return cfg


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths at which two nested states differ in a bit; functions in them (of schedules) are not compared."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        extra = [f"{path}.{key}" for key in a.keys() ^ b.keys()]
        return extra + [found for key in a.keys() & b.keys() for found in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [found for i, (x, y) in enumerate(zip(a, b, strict=True)) for found in differences(x, y, f"{path}[{i}]")]
    return [] if callable(a) or (type(a) is type(b) and a == b) else [path]


def last(run: Path, name: str = "last.pt") -> dict[str, Any]:
    """The state in a run's checkpoint."""
    return checkpoints.read(run / "checkpoints" / name)


def status_of(run: Path) -> dict[str, Any]:
    """Contents of a run's status.json, which it has."""
    status = read_status(run)
    assert status is not None
    return status


def state_of(run: Path) -> tuple[str, int, int]:
    """State of a run, steps reached and steps planned."""
    status = status_of(run)
    return status["state"], status["step"], status["steps"]


def trained(run: Path, name: str = "last.pt") -> dict[str, Any]:
    """The state of the training itself in a checkpoint: without config, evaluations, seconds and versions."""
    state, others = last(run, name), ("config", "seconds", "best", "stopping", "versions")
    return {key: value for key, value in state.items() if key not in others}


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]) -> None:
    """Have something happen just before this training step, once."""
    advance = Trainer.advance
    happened: list[int] = []

    def advance_or_act(trainer: Trainer) -> Any:
        if trainer.step == step - 1 and not happened:
            happened.append(step)
            act()
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", advance_or_act)


FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""For tests that fork: the threads of pytest hold no lock that the child needs."""


def exit_code_of(child: int) -> int:
    """Wait for a child process; its exit code, or −N if signal N killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take longer than everything else in a small run."""
    monkeypatch.setattr("ebm_cli.training.final_figures.draw", lambda *args: {})


def outcomes(rows: Iterable[Any]) -> dict[str, str]:
    """The outcome of each row of the self-test, by its fact; a row without a fact by its reason."""
    return {row.what or row.reason: row.outcome for row in rows}


def autograd_only(energy: Energy) -> nn.Module:
    """The same function as a module without a derivative rule."""

    class Opaque(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = energy(x)
            return out

    return Opaque()


def assert_same_derivatives(energy: Energy, opaque: nn.Module, x: Tensor, v: Tensor) -> None:
    """Compare value, gradient, directional derivatives and Laplacian, and the gradient of them all in the parameters.

    Args:
        energy: with derivative rules, in float64.
        opaque: the same function without rules (`autograd_only`).
        x: points [B, *D].
        v: directions [K, B, *D].
    """
    for a, b in zip(value_and_grad(energy, x), value_and_grad(opaque, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert_prepare_changes_no_bit(energy, x)
    found = []
    for f in (energy, opaque):
        (slopes, curvature), shared = directional(f, x, v, with_gradient=True)
        grad, trace = laplacian(f, x)
        assert shared is not None
        outputs = (slopes, curvature, shared, grad, trace, gradient(f, x))
        # A random cotangent for every output: together they check every backward rule.
        g = seeded(1)
        cotangents = [torch.randn(out.shape, generator=g, dtype=out.dtype) for out in outputs]
        loss = torch.stack([(out * c).sum() for out, c in zip(outputs, cotangents, strict=True)]).sum()
        parameters = torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True)
        found.append([*outputs, *(torch.zeros(1).double() if p is None else p for p in parameters)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a.expand_as(b), b.expand_as(a), rtol=1e-9, atol=1e-10)


def assert_prepare_changes_no_bit(energy: Energy, x: Tensor) -> None:
    """Compare the prepared energy with the energy, bit for bit, in repeated calls and for the gradient alone."""
    held = prepare(energy)
    assert held is not energy
    value, grad = value_and_grad(energy, x)
    for _ in range(2):
        for a, b in zip(value_and_grad(held, x), (value, grad), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(detached_gradient(held, x), grad)
    assert torch.equal(detached_gradient(energy, x), grad)
    torch.testing.assert_close(held(x), value)


def harmonic(x: torch.Tensor) -> torch.Tensor:
    """½‖x‖², the energy of N(0, I): [B, *D] → [B]."""
    return 0.5 * x.flatten(1).square().sum(1)


def is_mean(values: torch.Tensor | Sequence[float], expected: float) -> bool:
    """True if the mean of independent values is within five of its standard errors of the expected one."""
    found = torch.as_tensor(values, dtype=torch.float64)
    return abs(float(found.mean()) - expected) < 5 * float(found.std()) / math.sqrt(found.numel())
