"""The abstraction of monotone maps of each coordinate, and their composition. Points are flat, [B, D]."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Bend(NamedTuple):
    """T(x), log T′(x), and the first and second derivatives of log T′, each [B, D]."""

    value: Tensor
    log_slope: Tensor
    first: Tensor
    second: Tensor


class Monotone(nn.Module, ABC):
    """An increasing map T of each coordinate by itself, with three continuous derivatives."""

    @property
    def maps(self) -> "list[Monotone]":
        """The maps that it is composed of, the first one first: itself alone."""
        return [self]

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute T(x) and log T′(x), both [B, D]."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Compute T⁻¹(y) [B, D]."""

    @abstractmethod
    def bend(self, x: Tensor) -> Bend:
        """Compute T and three of its derivatives."""

    @abstractmethod
    def rescale(self, centre: Tensor, scale: Tensor, like: Tensor) -> None:
        """Become x ↦ T((x − centre) / scale): centre [D], scale [D], > 0; stored with dtype and device of `like`."""


class Chain(Monotone):
    """T = T_n ∘ … ∘ T_1.

    Args:
        maps: T_1, …, T_n.
    """

    def __init__(self, maps: Sequence[Monotone]) -> None:
        super().__init__()
        self._maps = nn.ModuleList(maps)

    @property
    def maps(self) -> list[Monotone]:
        """T_1, …, T_n."""
        return [one for one in self._maps if isinstance(one, Monotone)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_slope = torch.zeros_like(x)
        for one in self.maps:
            x, more = one(x)
            log_slope = log_slope + more
        return x, log_slope

    def inverse(self, y: Tensor) -> Tensor:
        for one in reversed(self.maps):
            y = one.inverse(y)
        return y

    def bend(self, x: Tensor) -> Bend:
        """Chain rule: with s = T′ of what came before, (log C′(T))′ = s c₁ and (log C′(T))″ = s² c₂ + s′ c₁."""
        at = Bend(x, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))
        for one in self.maps:
            new, slope = one.bend(at.value), at.log_slope.exp()
            at = Bend(
                new.value,
                at.log_slope + new.log_slope,
                at.first + slope * new.first,
                at.second + slope * (slope * new.second + at.first * new.first),
            )
        return at

    def rescale(self, centre: Tensor, scale: Tensor, like: Tensor) -> None:
        self.maps[0].rescale(centre, scale, like)
