"""The quantities that pass through a network: a jet on the way forward, a cotangent on the way back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

Pullback = Callable[[Tensor], Tensor]
"""∂f/∂(output) → ∂f/∂(input)."""
DelayedValue = Callable[[], Tensor]
"""The output, computed when it is asked for; ask before the pullback is called."""
ValueAndPullback = tuple[DelayedValue, Pullback]
"""The output at a point, and the pullback there. Nested functions are annotated with this name: TorchDynamo evaluates
their annotations, and fails at a subscript."""
VjpFn = Callable[[Tensor], ValueAndPullback]
"""x [B, *n] → the output at x, and the pullback there."""


class Jet(NamedTuple):
    """Second-order Taylor coefficients along K directions.

    Of a jet that goes into a module, `needs_first` says whether `first` of the output is wanted. Where it is not, the
    last nonlinear layer saves most of its work, and the output may hold None.

    Shapes: value [B, *n]; first [K, B, *n], or [K, 1, *n] where it is the same for the whole batch, None for K = 0;
    second [B, *n], None for 0.
    """

    value: Tensor
    first: Tensor | None = None
    second: Tensor | None = None
    needs_first: bool = True


class Differentiable(ABC):
    """A module with its own derivative rule; each child that it passes jets through must have a rule too.

    A subclass that overrides `sweep` without overriding `vjp` does not inherit the `vjp` of its base: that would
    belong to the base's `sweep`.
    """

    needs_whole_batch: ClassVar[bool] = False
    """True if a sweep must see all points of a call together."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(base for base in cls.__mro__ if not {"sweep", "vjp"}.isdisjoint(vars(base)))
        if "vjp" not in vars(first):
            cls.vjp = Differentiable.vjp  # type: ignore[method-assign]  # of a class, not of an object

    @abstractmethod
    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """The jet of the output, and the map from a cotangent of the output to the cotangent of the input."""

    def ruled_children(self) -> Iterable[nn.Module]:
        """The children that jets pass through: all, unless the module differentiates one of them itself."""
        assert isinstance(self, nn.Module)
        return self.children()

    def vjp(self) -> VjpFn:
        """The rule for jets without directions, with the weights as they are now.

        Override it in a module whose `sweep` does work that such jets do not need.
        """
        return without_directions(self.sweep)


def without_directions(rule: Callable[[Jet], tuple[Jet, Pullback]]) -> VjpFn:
    """Turn a rule for jets into one for points."""

    def at(x: Tensor) -> ValueAndPullback:
        jet, pullback = rule(Jet(x))
        return lambda: jet.value, pullback

    return at
