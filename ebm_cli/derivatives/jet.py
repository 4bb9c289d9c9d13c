"""What passes through a network: a jet on the way forth, a cotangent on the way back."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

Pullback = Callable[[Tensor], Tensor]
"""∂f/∂(output) → ∂f/∂(input)."""
Value = Callable[[], Tensor]
"""The output, computed when it is asked for, before the way back is taken."""
There = tuple[Value, Pullback]
"""The output at a point, and the way back. Functions inside functions are annotated with the name: torch's compiler
evaluates their annotations, and fails at a subscript."""
At = Callable[[Tensor], There]
"""x [B, *n] → the output there, and the way back."""


class Jet(NamedTuple):
    """Second-order Taylor coefficients along K directions.

    Shapes: value [B, *n]; first [K, B, *n] or [K, 1, *n] where it is the same for the whole batch, None for K = 0;
    second [B, *n], None for 0.

    Of a jet that goes into a module, `slopes` says whether the first of what comes out is wanted. Where it is not, the
    last layer that bends saves most of its work, and what comes out may hold None.
    """

    value: Tensor
    first: Tensor | None = None
    second: Tensor | None = None
    slopes: bool = True


class Differentiable(ABC):
    """A module that knows its own rule; each of its children must have one too.

    A class that has another `sweep` than its base and no `vjp` of its own does not inherit that of its base either.
    """

    at_once: ClassVar[bool] = False
    """Whether a sweep must see all points of a call together."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(base for base in cls.__mro__ if not {"sweep", "vjp"}.isdisjoint(vars(base)))
        if "vjp" not in vars(first):
            cls.vjp = Differentiable.vjp  # type: ignore[method-assign]

    @abstractmethod
    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """The jet of the output, and the map from a cotangent of the output to the cotangent of the input."""

    def vjp(self) -> At:
        """The same for jets without directions, with the weights as they are now.

        A module whose sweep does more than that needs has its own.
        """
        return without_directions(self.sweep)


def without_directions(rule: Callable[[Jet], tuple[Jet, Pullback]]) -> At:
    """A rule for jets as one for points."""

    def at(x: Tensor) -> There:
        jet, pullback = rule(Jet(x))
        return lambda: jet.value, pullback

    return at
