"""Chains that run a piece at a time, and whose state can be stored between two pieces.

The kept positions of all pieces together are those of one `trace` (or `trace_with_jumps`) from the same start with the
same generator, bit for bit: a piece continues the whole state of the kernel, velocities and cached gradients included.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.derivatives import EnergyFn, prepare
from ebm_cli.rng import restore
from ebm_cli.samplers.base import Info, Kernel, State
from ebm_cli.samplers.independence import trace_with_jumps
from ebm_cli.samplers.loops import keep, run, trace
from ebm_cli.samplers.metric import Metric

K = TypeVar("K", bound=Kernel)


class Pieces:
    """Running chains.

    Args:
        kernel: the transition, after burn-in.
        energy: the target is exp(−energy / kernel.temperature).
        at: starting points [B, *D], or a state, as for `trace`.
        thin: transitions between two kept positions, ≥ 1.
        rng: source of every draw, on the points' device.
        density: of the jumps before each kept position (`trace_with_jumps`); None for no jumps.

    Attributes:
        total: the sum of `Info` over the steps so far; None before the first.
        jumps: the sum of the acceptances of the jumps so far [B].
        n_kept: kept positions so far.
    """

    def __init__(
        self,
        kernel: Kernel,
        energy: EnergyFn,
        at: Tensor | State,
        thin: int,
        rng: torch.Generator,
        density: Density | None = None,
    ) -> None:
        self.kernel, self.energy, self.thin, self.rng, self.density = kernel, energy, thin, rng, density
        self._at = at
        self._is_begun = False
        self.total: Info | None = None
        points = at.x if isinstance(at, State) else at
        self.jumps = points.new_zeros(len(points))
        self.n_kept = 0

    def advance(self, n: int, progress: Callable[[int], None] | None = None) -> Tensor:
        """Run until n ≥ 1 more positions are kept; returns them [n, B, *D].

        `progress` is called with the number of transitions of this piece so far.
        """
        draws, total = self._jumping(n, progress) if self.density is not None else self._moving(n, progress)
        self.total = total.added_to(self.total)
        self.n_kept += n
        return draws

    def _jumping(self, n: int, progress: Callable[[int], None] | None) -> tuple[Tensor, Info]:
        assert self.density is not None
        n_steps, x = n * self.thin, self._at.x if isinstance(self._at, State) else self._at
        draws, info, accepted = trace_with_jumps(
            self.kernel, self.energy, self.density, x, n_steps, self.thin, self.rng, progress
        )
        self._at, self.jumps = draws[-1].clone(), self.jumps + n * accepted
        return draws, info.over(1 / n_steps)

    def _moving(self, n: int, progress: Callable[[int], None] | None) -> tuple[Tensor, Info]:
        n_steps, native = n * self.thin, getattr(self.energy, "native", None)
        if native is not None and native.covers(self.kernel, self.energy, self._at):
            return self._native(n, progress)
        energy = prepare(self.energy)
        if not self._is_begun:
            is_whole = isinstance(self._at, State) and self.kernel.has_ladder
            x = self._at.x if isinstance(self._at, State) else self._at
            self._at = self._at if is_whole else self.kernel.init(energy, x.detach(), self.rng)
            self._is_begun = True
        assert isinstance(self._at, State)
        draws, total, self._at = keep(self.kernel, energy, self._at, n_steps, self.thin, self.rng, progress)
        assert total is not None
        return draws, total

    def _native(self, n: int, progress: Callable[[int], None] | None) -> tuple[Tensor, Info]:
        """In native code, which caches nothing between two calls but the replicas of a ladder."""
        if not self.kernel.has_ladder:
            n_steps = n * self.thin
            draws, info = trace(self.kernel, self.energy, self._at, n_steps, self.thin, self.rng, progress)
            self._at = draws[-1].clone()
            return draws, info.over(1 / n_steps)
        kept, total = [], None
        for i in range(n):
            self._at, info = run(self.kernel, self.energy, self._at, self.thin, self.rng)
            kept.append(self._at.x)
            total = info.over(1 / self.thin).added_to(total)
            if progress is not None:
                progress((i + 1) * self.thin)
        assert total is not None
        return torch.stack(kept), total

    def state_dict(self) -> dict[str, Any]:
        """All that the next piece depends on, in plain containers and tensors."""
        at = self._at._asdict() if isinstance(self._at, State) else {"x": self._at}
        total = None if self.total is None else self.total._asdict()
        return {
            "kernel": settings(self.kernel),
            "at": at,
            "is_begun": self._is_begun,
            "rng": self.rng.get_state(),
            "total": total,
            "jumps": self.jumps,
            "n_kept": self.n_kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, of chains with the same arguments."""
        self.kernel = with_settings(self.kernel, state["kernel"])
        at = state["at"]
        self._at = State(**at) if len(at) > 1 else at["x"]
        self._is_begun = state["is_begun"]
        restore(self.rng, state["rng"])
        self.total = None if state["total"] is None else Info(**state["total"])
        self.jumps, self.n_kept = state["jumps"], state["n_kept"]


def settings(kernel: Kernel) -> dict[str, Any]:
    """The fields of a kernel, plainly: a kernel in it as its own fields, a metric as its factor."""
    return {field.name: _plain(getattr(kernel, field.name)) for field in fields(kernel)}


def with_settings(kernel: K, stored: dict[str, Any]) -> K:
    """The kernel of this class with the fields that `settings` returned."""
    return replace(kernel, **{name: _restored(getattr(kernel, name), value) for name, value in stored.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Kernel):
        return settings(value)
    if isinstance(value, Metric):
        return {"factor": value.factor}
    return list(value) if isinstance(value, tuple) else value


def _restored(before: Any, value: Any) -> Any:
    if isinstance(before, Kernel):
        return with_settings(before, value)
    if isinstance(value, dict):
        return Metric(value["factor"])
    return tuple(value) if isinstance(value, list) else value
