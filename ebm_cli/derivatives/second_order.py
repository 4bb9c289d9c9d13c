"""Second derivatives of an energy in x, along directions or as the exact Laplacian, and the terms of score matching."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.derivatives.chunked_laplacian import BUDGET, Budget, Curvature, FrozenBuffers, chunked, fits_one_chunk
from ebm_cli.derivatives.compiled import run_sweep
from ebm_cli.derivatives.first_order import EnergyFn, gradient, gradient_by_rules, unwrap
from ebm_cli.derivatives.jet import Jet, Pullback
from ebm_cli.derivatives.rules import supports, sweep

MAX_SLOPES = 10
"""Directions up to which the gradient of a Laplacian is made of their slopes; beyond, the pullback costs less."""


class Directional(NamedTuple):
    """Derivatives along K directions: the slopes v_k·∇f [K, B] and the summed curvature Σ_k v_kᵀ∇²f v_k [B]."""

    slopes: Tensor
    curvature: Tensor


class ScoreTerms(NamedTuple):
    """Terms of the score-matching objective over a batch, each a scalar.

    Attributes:
        objective: mean over the points of ½ square − curvature, differentiable in the parameters; the others are not.
        square: mean of the squared score.
        curvature: mean of the second derivatives.
        deviation: standard deviation over the points; 0 for a single one.
    """

    objective: Tensor
    square: Tensor
    curvature: Tensor
    deviation: Tensor


def directional(
    energy: EnergyFn, x: Tensor, v: Tensor, *, with_gradient: bool = False
) -> tuple[Directional, Tensor | None]:
    """First and second derivatives along K directions, and ∇f if asked for, differentiable in the parameters.

    Source: collapsed Taylor mode; Li et al. (2023), arXiv:2307.08214, with arbitrary directions.

    Args:
        energy: f.
        x: points [B, *D].
        v: directions [K, B, *D], or [K, 1, *D] where they are the same for every point.
        with_gradient: also return ∇f [B, *D], which shares the forward pass.

    Cost: about 2 + K forward passes (3 + K with the gradient), and their backward.
    """
    energy = unwrap(energy)
    if isinstance(energy, nn.Module) and supports(energy):
        jet, pullback = sweep(energy, Jet(x, v))
        assert jet.first is not None
        slopes = jet.first.expand(len(v), len(x))
        return Directional(slopes, _curvature(jet)), _gradient_of(jet, pullback) if with_gradient else None
    slopes, curvatures = _hessian_products(energy, x, v.expand(len(v), *x.shape))
    return Directional(slopes, curvatures.sum(0)), gradient(energy, x) if with_gradient else None


def laplacian(energy: EnergyFn, x: Tensor, budget: Budget = BUDGET) -> tuple[Tensor, Tensor]:
    """∇f(x) and the exact Laplacian tr ∇²f(x), differentiable in the parameters.

    Where a network's first layer is linear and narrower than D, its Hessian lives in the row space of that layer's
    weight: the directions are an orthonormal basis of that space, and the trace stays exact (Li et al. 2023, section on
    low rank). Directions and points are taken in chunks that bound the memory (see `chunked_laplacian`), except for an
    energy without rules.

    Shapes: x [B, *D] → [B, *D], [B].  Cost: about min(D, width) + 2 forward passes, and their backward.
    """
    energy = unwrap(energy)
    module = energy if isinstance(energy, nn.Module) and supports(energy) else None
    v, outside = _directions(module, x)
    trace = None if module is None else chunked(module, _curvature_of(module), x, v, budget)
    if module is None or (trace is None and outside is None and len(v) <= MAX_SLOPES):
        slopes, trace = directional(energy, x, v)[0]
        return slopes.T.reshape(x.shape), trace
    if trace is None:
        jet, pullback = sweep(module, Jet(x, v, needs_first=False))
        trace, grad = _curvature(jet), _gradient_of(jet, pullback)
    else:
        with FrozenBuffers(module):
            (grad,) = gradient_by_rules(module, x)
    # The part of the energy outside the row space is added by the energy itself.
    return grad, trace if outside is None else trace + outside


def exact_terms(energy: EnergyFn, x: Tensor, budget: Budget = BUDGET) -> ScoreTerms:
    """The terms of exact score matching, ½‖∇f(x)‖² − tr ∇²f(x) of each point: as much of `laplacian` as they need.

    Shapes: x [B, *D].  Cost: that of `laplacian`.
    """
    compiled = getattr(energy, "compiled", None)
    if compiled is None or not compiled.matches(x) or not isinstance(energy, nn.Module) or not supports(energy):
        grad, trace = laplacian(energy, x, budget)
        return ScoreTerms(*_terms(_square(grad), trace))
    v, outside = _directions(energy, x)
    # The graph's size depends on the shapes alone. In chunks, products take the time, which compiling does not save.
    is_one_chunk = compiled.compute_once(
        ("fits one chunk", x.shape), lambda: fits_one_chunk(energy, _curvature_of(energy), x, v, budget)
    )
    if not is_one_chunk:
        grad, trace = laplacian(energy, x, budget)
        return ScoreTerms(*_terms(_square(grad), trace))
    if outside is None and len(v) <= MAX_SLOPES:
        return ScoreTerms(*compiled(_slopes_by_rules, energy, x, v, 1.0))
    terms = ScoreTerms(*compiled(_terms_by_rules, energy, x, v, 1.0))
    if outside is None:
        return terms
    return terms._replace(objective=terms.objective - outside, curvature=terms.curvature + outside)


def sliced_terms(energy: EnergyFn, x: Tensor, v: Tensor, *, exact_square: bool) -> ScoreTerms:
    """The terms of sliced score matching, mean_k[ ½‖∇f‖² − v_kᵀ∇²f v_k ] of each point, or with ½ (v_k·∇f)² first.

    Args:
        energy: f.
        x: points [B, *D].
        v: directions [K, B, *D].
        exact_square: take ½‖∇f‖², of which ½ (v_k·∇f)² is an estimate with more variance.

    Cost: that of `directional`.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        return ScoreTerms(*run_sweep(_terms_by_rules if exact_square else _slopes_by_rules, energy, x, v, 1 / len(v)))
    (slopes, curvature), grad = directional(energy, x, v, with_gradient=exact_square)
    return ScoreTerms(*_terms(slopes.square().mean(0) if grad is None else _square(grad), curvature / len(v)))


def _directions(energy: nn.Module | None, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Directions of a Laplacian [K, 1, *D]: a basis of R^D and None, or of a subspace and the trace outside of it."""
    narrow = None if energy is None else getattr(energy, "row_space", None)
    reduced = None if narrow is None else narrow()
    if reduced is None:
        size = x[0].numel()
        reduced = torch.eye(size, dtype=x.dtype, device=x.device), None
    return reduced[0].view(-1, 1, *x.shape[1:]), reduced[1]


def _curvature_of(energy: nn.Module) -> Curvature:
    return lambda x, v: _curvature(sweep(energy, Jet(x, v, needs_first=False))[0])


def _square(grad: Tensor) -> Tensor:
    return grad.flatten(1).square().sum(1)


# --- by rules: functions of a module and tensors, all of whose outputs are needed -------------------------------------


def _terms_by_rules(energy: nn.Module, x: Tensor, v: Tensor, share: float) -> tuple[Tensor, ...]:
    """The terms with ‖∇f‖²; `share` is the weight of a direction: 1 for a basis, 1/K for K samples."""
    jet, pullback = sweep(energy, Jet(x, v, needs_first=False))
    return _terms(_square(_gradient_of(jet, pullback)), _curvature(jet), 1.0, share)


def _slopes_by_rules(energy: nn.Module, x: Tensor, v: Tensor, share: float) -> tuple[Tensor, ...]:
    """The terms with Σ_k (v_k·∇f)²."""
    jet, _ = sweep(energy, Jet(x, v))
    assert jet.first is not None
    return _terms(jet.first.expand(len(v), len(x)).square().sum(0), _curvature(jet), share, share)


def _terms(square: Tensor, curvature: Tensor, of_square: float = 1.0, of_curvature: float = 1.0) -> tuple[Tensor, ...]:
    """The numbers of `ScoreTerms`, from square [B] and curvature [B], each times a factor."""
    square = square if of_square == 1 else square * of_square
    curvature = curvature if of_curvature == 1 else curvature * of_curvature
    rows = torch.sub(0.5 * square, curvature)
    deviation = rows.detach().std(correction=min(1, len(rows) - 1))
    return rows.mean(), square.detach().mean(), curvature.detach().mean(), deviation


def _gradient_of(jet: Jet, pullback: Pullback) -> Tensor:
    """∇f, by the cotangent 1 of every point."""
    return pullback(jet.value.new_ones(1))


def _curvature(jet: Jet) -> Tensor:
    return torch.zeros_like(jet.value) if jet.second is None else jet.second


# --- by autograd ------------------------------------------------------------------------------------------------------


def _hessian_products(energy: EnergyFn, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """v_k·∇f and v_kᵀ∇²f v_k, [K, B] each, by forward-over-reverse differentiation, vectorised over the directions."""

    def grad_fn(point: Tensor) -> Tensor:
        grad: Tensor = torch.func.grad(lambda y: energy(y).sum())(point)
        return grad

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        grad, product = torch.func.jvp(grad_fn, (x,), (direction,))[:2]
        return (direction * grad).flatten(1).sum(1), (direction * product).flatten(1).sum(1)

    first, second = torch.func.vmap(along)(v)
    return first, second
