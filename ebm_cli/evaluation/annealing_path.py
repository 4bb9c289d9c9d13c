"""AnnealingPath of distributions from a density that can be sampled to a model that cannot.

    p_b(x) ∝ exp(−E_b(x)),    E_b = a(b) u(x) + b f(x),    u = −log q,    a(b) = (1 − b) h / (h + b),    0 ≤ b ≤ 1

starts at the normalised base q and ends at the model exp(−f)/Z. For h → ∞ it is the geometric path a = 1 − b, on which
the base acts on the model's modes until the end: modes far from its centre get few chains while chains can still cross
from mode to mode, and none later. With a small h the base is spread out first, and has vanished (half of it at b = h)
when the modes separate, so that their shares of the chains are close to their shares of the model; the cost is a longer
path through wide distributions. For two normal distributions the shortest path between them also passes through wider
ones.

A kernel has one step size for all directions. Where the columns of the data are nearly collinear, so that the widths of
a Gaussian base differ too much for that, chains move in coordinates in which the base is N(0, I); weights do not depend
on coordinates.

Sources: Neal (2001), "Annealed importance sampling", Stat. Comput. 11, for the geometric path; Gelman & Meng (1998),
Stat. Sci. 13(2), section 4, for paths that bend outwards.
"""

from math import inf
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.derivatives import Differentiable, Jet, Pullback, value_and_grad
from ebm_cli.samplers import EnergyFn, Kernel, State, select_chains

ILL_CONDITIONED = 1000.0
"""Ratio of a Gaussian base's largest variance to its smallest from which chains move in its own coordinates.

Below it they do not: the covariance of separate modes measures their distance, and dividing by it would make each of
them narrow.
"""


class Points(NamedTuple):
    """Positions [B, *D] in the path's coordinates, with the energies of both ends of the path there.

    `f` [B] and `u` = −log q [B] with their gradients [B, *D], which are None for a kernel that needs none. They give
    the energy and its gradient at any level.
    """

    x: Tensor
    f: Tensor
    f_grad: Tensor | None
    u: Tensor
    u_grad: Tensor | None

    def take(self, index: Tensor) -> "Points":
        """Select points by an index."""
        return Points._make(None if part is None else part[index] for part in self)

    def where(self, mask: Tensor, other: "Points") -> "Points":
        """Take these points where the mask [B] is true, and the others elsewhere."""
        pairs = zip(self, other, strict=True)
        return Points._make(None if p is None or o is None else select_chains(mask, p, o) for p, o in pairs)


class Frame(NamedTuple):
    """Coordinates y with x = mean + factor · y: mean [D], factor [D, D] and its inverse."""

    mean: Tensor
    factor: Tensor
    inverse: Tensor


@final
class AnnealingPath(nn.Module, Differentiable):
    """E_b at the current level b, as an energy that any kernel can step on.

    The path stores the parts of the last points that it evaluated. A kernel with an acceptance test evaluates its
    proposal last, so that `move` has the parts of the chains that moved, and a change of b costs no evaluation.

    Args:
        energy: f, [B, *shape] → [B], nats; its derivative rules are used if it has them, whatever the base is.
        base: q, normalised, positive and differentiable wherever the model has mass.
        fade: h > 0, the level at which half of the base has vanished; inf is the geometric path.

    Attributes:
        level: b.
        evaluations: points at which f has been evaluated.
        undefined: number of these at which f was NaN or −∞; a proposal there is rejected, as if f were +∞.
    """

    needs_whole_batch = True

    def __init__(self, energy: EnergyFn, base: Density, fade: float) -> None:
        super().__init__()
        if not fade > 0:
            raise ValueError(f"fade must be > 0, got {fade}")
        # In a tuple, so that they are no sub-modules: the rule of this module holds for energies without one.
        self._ends = (energy, base)
        self._frame = _whitening_frame(base)
        self.fade, self.level = fade, 0.0
        self.evaluations = 0
        self.undefined = torch.zeros((), dtype=torch.long)
        self._last: Points | None = None

    def exponents(self, b: float) -> tuple[float, float]:
        """a(b) and b."""
        return (1 - b if self.fade == inf else (1 - b) * self.fade / (self.fade + b)), b

    def to_path(self, x: Tensor) -> Tensor:
        """Standardised units → the path's coordinates, [B, *D]."""
        frame = self._frame
        return x if frame is None else ((x.flatten(1) - frame.mean) @ frame.inverse.T).view_as(x)

    def from_path(self, x: Tensor) -> Tensor:
        """The path's coordinates → standardised units, [B, *D]."""
        frame = self._frame
        return x if frame is None else torch.addmm(frame.mean, x.flatten(1), frame.factor.T).view_as(x)

    def evaluate(self, x: Tensor, *, with_grad: bool) -> Points:
        """f, log q and their gradients at x, in the path's coordinates.  Cost: one evaluation of each."""
        energy, base = self._ends
        y = self.from_path(x)
        if with_grad:
            f, f_grad = value_and_grad(energy, y)
            u, u_grad = _base_energy(base, y)
            if self._frame is not None:
                f_grad, u_grad = ((g.flatten(1) @ self._frame.factor).view_as(x) for g in (f_grad, u_grad))
            points = Points(x, f, f_grad, u, u_grad)
        else:
            with torch.no_grad():
                points = Points(x, energy(y), None, -base.log_prob(y), None)
        self.evaluations += len(x)
        # Where x itself has overflowed, f is not at fault.
        bad = ~(points.f > -inf) & x.flatten(1).sum(1).isfinite()
        self.undefined = self.undefined.to(x.device) + bad.sum()
        return points

    def energy_change(self, points: Points, b: float) -> Tensor:
        """E_b − E_level at the points, [B] in float64 on the CPU."""
        (a, c), (a_new, c_new) = self.exponents(self.level), self.exponents(b)
        u, f = (part.to("cpu", torch.float64) for part in (points.u, points.f))
        return (a_new - a) * u + (c_new - c) * f

    def move(self, kernel: Kernel, points: Points, rng: torch.Generator) -> tuple[Points, Tensor]:
        """Make one transition of the kernel at the current level: new points, and the acceptance probability [B]."""
        grad = None
        if points.f_grad is not None and points.u_grad is not None:
            grad = self._mix(points.u_grad, points.f_grad)
        state = State(points.x, self._mix(points.u, points.f), grad, {})
        state, info = kernel.step(self, state, rng)
        assert self._last is not None
        has_moved = (state.x == self._last.x).flatten(1).all(1)
        return self._last.where(has_moved, points), info.accept

    def forward(self, x: Tensor) -> Tensor:
        """E_b(x) [B], without derivatives."""
        self._last = self.evaluate(x, with_grad=False)
        return self._mix(self._last.u, self._last.f)

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule of first order: E_b and ∇E_b, from one value and gradient of each end."""
        if jet.first is not None:
            raise ValueError("a path has no second derivatives")
        self._last = points = self.evaluate(jet.value, with_grad=True)
        assert points.u_grad is not None
        assert points.f_grad is not None
        grad = self._mix(points.u_grad, points.f_grad)
        return Jet(self._mix(points.u, points.f)), lambda g: g.view(-1, *(1,) * (grad.dim() - 1)) * grad

    def _mix(self, u: Tensor, f: Tensor) -> Tensor:
        a, c = self.exponents(self.level)
        # An infinite energy of weight 0 would make NaN.
        return a * u if c == 0 else c * f if a == 0 else torch.add(a * u, f, alpha=c)


def _whitening_frame(base: Density) -> Frame | None:
    """The coordinates in which an ill-conditioned Gaussian is N(0, I); None for any other base."""
    if not isinstance(base, Gaussian):
        return None
    widths = torch.linalg.svdvals(base.factor.to("cpu", torch.float64))
    if float((widths[0] / widths[-1]).square()) < ILL_CONDITIONED:
        return None
    return Frame(base.mean, base.factor, base.whiten)


def _base_energy(base: Density, x: Tensor) -> tuple[Tensor, Tensor]:
    """−log q(x) and its gradient; in closed form for a Gaussian: autograd would cost as much as a small network."""
    if not isinstance(base, Gaussian):
        return value_and_grad(lambda y: -base.log_prob(y), x)
    with torch.no_grad():
        z = (x.flatten(1) - base.mean) @ base.whiten.T
        return 0.5 * z.square().sum(1) - base.log_norm, (z @ base.whiten).view_as(x)
