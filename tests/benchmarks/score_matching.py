"""Rows of exact and of sliced score matching: the loss and its gradient in all parameters, MLP D-128-128-1 softplus.

The optimizer, which is the same for all, is left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import folx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torchebm.losses import ScoreMatching, SlicedScoreMatching

from ebm_cli.energies.mlp import MLP
from ebm_cli.methods.base import Method
from ebm_cli.methods.sm import SM
from ebm_cli.methods.ssm import DRAW, SSM

from . import networks as nets
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

BATCH, WIDTH, ACTIVATION = 128, 128, "softplus"
LOSS, GRADIENT = 1e-5, 1e-4
"""Tolerances of a loss and of a gradient in float32; a gradient is a sum of larger terms."""

LossFn = Callable[[Any, Any], Any]


def rows() -> list[Row]:
    return [
        *(_exact(size, eager, compiled) for size, eager, compiled in EXACT),
        *(_sliced(size, k, eager, compiled) for size, k, eager, compiled in SLICED),
    ]


# --- exact ------------------------------------------------------------------------------------------------------------

EXACT = [(2, 3.0, 4.5), (10, 3.3, 4.5), (64, 4.5, 5.5), (100, 4.0, 5.0), (784, 65.0, 90.0)]
"""D, and the target ratios to torchebm, eager and compiled."""


def _exact(size: int, eager: float, compiled: float) -> Row:
    ahead = [Target("ours, compiled", "folx", 1.0)] if size >= 10 else []
    return Row(
        name=f"sm-{size}",
        title=f"exact score matching, D = {size}",
        measure=lambda effort: _measure_exact(size, effort),
        base="torchebm",
        targets=(Target("ours, eager", "torchebm", eager), Target("ours, compiled", "torchebm", compiled), *ahead),
    )


def exact_steps(size: int) -> tuple[dict[str, "Step"], MLP]:
    """A step of exact score matching for each library, and the energy that ours and torchebm differentiate."""
    energy, x = nets.mlp(size, WIDTH, 2, ACTIVATION), nets.points(BATCH, size)
    params, points = nets.weights(energy), jnp.asarray(x.numpy())
    steps: dict[str, Step] = {
        "ours, eager": _ours(SM(), energy, x),
        "ours, compiled": _ours(SM(), nets.compiled(energy, BATCH), x),
        "torchebm": _torchebm(ScoreMatching(nets.Torchebm(energy)), energy, x),
        "JAX jvp(grad)": _jax(lambda p, x: jnp.mean(jax.vmap(lambda row: _hyvarinen(p, row))(x)), params, points),
        "folx": _jax(lambda p, x: jnp.mean(jax.vmap(lambda row: _folx(p, row))(x)), params, points),
    }
    return steps, energy


def _measure_exact(size: int, effort: Effort) -> Measurement:
    steps, energy = exact_steps(size)
    found = Measurement(agreements=require_agreement(_agreements(steps, energy)))
    streams = min(size, WIDTH) + 2
    found.times = measure_times([*_variants(steps), Variant(FLOOR, nets.floor(_products(size, streams, 1)))], effort)
    return found


def _hyvarinen(params: Any, row: Any) -> Any:
    """½‖∇f‖² − tr ∇²f of one row, forward over reverse along every axis."""
    gradient = jax.grad(nets.jax_energy(ACTIVATION), argnums=1)

    def curvature(v: Any) -> Any:
        return jnp.vdot(v, jax.jvp(lambda y: gradient(params, y), (row,), (v,))[1])

    return 0.5 * jnp.sum(gradient(params, row) ** 2) - jnp.sum(jax.vmap(curvature)(jnp.eye(row.size)))


def _folx(params: Any, row: Any) -> Any:
    """The same by folx's forward Laplacian."""
    operator = folx.ForwardLaplacianOperator(0)
    trace, gradient = operator(lambda y: nets.jax_energy(ACTIVATION)(params, y))(row)
    return 0.5 * jnp.sum(gradient**2) - jnp.sum(trace)


# --- sliced -----------------------------------------------------------------------------------------------------------

SLICED = [(2, 1, 1.6, 2.7), (100, 1, 1.6, 2.7), (784, 1, 2.0, 2.7), (100, 5, 2.5, 4.5)]
"""D, projections, and the target ratios to torchebm, eager and compiled."""


def _sliced(size: int, k: int, eager: float, compiled: float) -> Row:
    projections = "1 projection" if k == 1 else f"{k} projections"
    return Row(
        name=f"ssm-{size}" if k == 1 else f"ssm-{size}-{k}",
        title=f"sliced score matching, D = {size}, {projections}",
        measure=lambda effort: _measure_sliced(size, k, effort),
        base="torchebm",
        targets=(
            Target("ours, eager", "torchebm", eager),
            Target("ours, compiled", "torchebm", compiled),
            Target("ours, compiled", "JAX jvp(jvp)", 1.0),
        ),
    )


def _measure_sliced(size: int, k: int, effort: Effort) -> Measurement:
    energy, x = nets.mlp(size, WIDTH, 2, ACTIVATION), nets.points(BATCH, size)
    params, points = nets.weights(energy), jnp.asarray(x.numpy())
    method = SSM("rademacher", n_projections=k, variance_reduction=False)
    peer = SlicedScoreMatching(nets.Torchebm(energy), n_projections=k)
    v = nets.points(k * BATCH, size, seed=2).sign().view(k, BATCH, size)
    # The comparison uses the same directions; the timed steps draw their own.
    fixed = {
        "ours, eager": _ours(method, energy, x),
        "ours, compiled": _ours(method, nets.compiled(energy, BATCH), x),
        "torchebm": _torchebm(peer, energy, x),
        "JAX jvp(jvp)": _jax(lambda p, x: _sliced_loss(p, x, jnp.asarray(v.numpy())), params, points),
    }
    drawn, DRAW["rademacher"] = DRAW["rademacher"], lambda *_: v
    peer._get_random_projections = lambda *_, **__: v.flatten(0, 1)
    found = Measurement(agreements=require_agreement(_agreements(fixed, energy)))
    DRAW["rademacher"] = drawn
    del peer._get_random_projections
    steps = fixed | {"JAX jvp(jvp)": _jax_drawing(params, points, k)}
    found.times = measure_times([*_variants(steps), Variant(FLOOR, nets.floor(_products(size, k + 2, k + 1)))], effort)
    return found


def _sliced_loss(params: Any, x: Any, v: Any) -> Any:
    """mean ½ (v·∇f)² − vᵀ∇²f v by nested forward mode."""

    def along(row: Any, direction: Any) -> Any:
        def slope(y: Any) -> Any:
            return jax.jvp(lambda z: nets.jax_energy(ACTIVATION)(params, z), (y,), (direction,))[1]

        first, second = jax.jvp(slope, (row,), (direction,))
        return 0.5 * first**2 - second

    return jnp.mean(jax.vmap(lambda one: jax.vmap(along)(x, one))(v))


def _jax_drawing(params: Any, x: Any, k: int) -> Callable[[], Any]:
    """The whole step, jitted, with the directions drawn inside; the key is carried from step to step."""

    @jax.jit
    def step(params: Any, x: Any, key: Any) -> Any:
        key, now = jax.random.split(key)
        v = jax.random.rademacher(now, (k, *x.shape), x.dtype)
        return jax.value_and_grad(_sliced_loss)(params, x, v), key

    state = {"key": jax.random.key(0)}

    def call() -> Any:
        found, state["key"] = step(params, x, state["key"])
        return jax.block_until_ready(found)

    return call


# --- shared parts -----------------------------------------------------------------------------------------------------

Step = Callable[[], Any]
"""A step that returns its loss as a tensor, or (loss, gradient) of JAX."""


def _ours(method: Method, energy: MLP, x: Tensor) -> Step:
    rng, parameters = nets.generator(3), list(energy.parameters())

    def step() -> Tensor:
        _clear_gradients(energy)
        loss = method.loss(energy, x, rng).loss
        loss.backward(inputs=parameters)
        return loss

    return step


def _torchebm(loss_fn: nn.Module, energy: MLP, x: Tensor) -> Step:
    def step() -> Tensor:
        _clear_gradients(energy)
        loss: Tensor = loss_fn(x)
        loss.backward()
        return loss

    return step


def _jax(loss: LossFn, params: Any, x: Any) -> Step:
    both = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(both(params, x))


def _clear_gradients(energy: MLP) -> None:
    for parameter in energy.parameters():
        parameter.grad = None


def _variants(steps: dict[str, Step]) -> list[Variant]:
    return [Variant(name, step) for name, step in steps.items()]


def _agreements(steps: dict[str, Step], energy: MLP) -> list[Agreement]:
    """Agreement of the loss and gradient of every variant with the first."""
    seen: dict[str, tuple[float, np.ndarray]] = {}
    for name, step in steps.items():
        out = step()
        if isinstance(out, torch.Tensor):
            seen[name] = float(out.detach()), nets.torch_gradient(energy)
        else:
            seen[name] = float(out[0]), nets.jax_gradient(out[1])
    first, *others = seen
    return [
        found
        for name in others
        for found in (
            nets.agreement(f"loss, {first} and {name}", seen[name][0], seen[first][0], LOSS),
            nets.agreement(f"gradient, {first} and {name}", seen[name][1], seen[first][1], GRADIENT),
        )
    ]


def _products(size: int, streams: int, streams_in: int) -> Sequence[nets.Product]:
    """Value, directions and second order of a batch through the network, and the gradients of the weights.

    `streams_in` of them need the product of the first layer: a basis does not, and second order begins after it.
    """
    first = nets.training_products([size, WIDTH], BATCH * streams_in)
    return [*first, *nets.training_products([WIDTH, WIDTH, 1], BATCH * streams), (BATCH * streams, WIDTH, WIDTH)]
