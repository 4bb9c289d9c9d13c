"""The kernels that `error_adaptation` tunes by the error of their energy: what it asks of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from ebm_cli.samplers.metric import Preconditioned


@dataclass(frozen=True)
class Tuned(Preconditioned, ABC):
    """A kernel with momentum that keeps the error of a step's energy in `state.aux["error"]` [B], in units of T."""

    @abstractmethod
    def pace(self, dimension: int) -> float:
        """Distance that a step moves a point of so many dimensions, about."""

    @abstractmethod
    def cooled(self) -> Self:
        """The kernel that loses the energy of a start off the target within some steps."""

    @abstractmethod
    def with_length(self, length: float, dimension: int) -> Self:
        """The kernel whose momentum is forgotten over a distance."""
