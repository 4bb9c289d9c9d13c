"""Rows of contrastive divergence: a whole training step of CD-20 and PCD-20, batch 256, 2-128-128-1 SiLU.

A step runs the chains, computes the loss and its gradient and updates the weights by Adam: ours with the optimizer of
`ebm train`, the peers in torch with the one of their own examples, JAX with its Adam inside the jitted step.
"""

from collections.abc import Callable
from typing import Any

import ebm.buffer
import ebm.losses.cd
import ebm.samplers.langevin
import jax
import jax.numpy as jnp
import optax
import torch
from torch import Tensor, nn
from torchebm.losses import ContrastiveDivergence
from torchebm.samplers import LangevinDynamics

from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.energies.mlp import MLP
from ebm_cli.methods.base import Method
from ebm_cli.methods.cd import CD
from ebm_cli.optim.flat import Flat
from ebm_cli.optim.fused_adam import make_step
from ebm_cli.samplers.langevin import Langevin

from . import networks as nets
from . import peers
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

BATCH, K, EPS, ACTIVATION, LR = 256, 20, 0.01, "silu", 1e-3
BUFFER, RESTART = 10_000, 0.05


def rows() -> list[Row]:
    return [_row("cd-20", persistent=False), _row("pcd-20", persistent=True)]


def _row(name: str, persistent: bool) -> Row:
    return Row(
        name=name,
        title=f"{name.upper()} step, batch {BATCH}, 2-128-128-1",
        measure=lambda effort: _measure(persistent, effort),
        base="torchebm",
        targets=(
            Target("ours, portable", "torchebm", 2.0),
            Target("ours, native", "torchebm", 4.0),
            Target("ours, native", "JAX, whole step", 1.0),
        ),
    )


def _measure(persistent: bool, effort: Effort) -> Measurement:
    # Every variant trains its own copy, because a step changes the weights.
    x = nets.points(BATCH, 2)
    first = _network()
    variants = {
        "ours, portable": _ours(first, x, persistent),
        "ours, native": _ours(nets.native(_network()), x, persistent),
        "torchebm": _torchebm(_network(), x, persistent),
        "ebmkit": _ebmkit(_network(), x, persistent),
        "JAX, whole step": _jax(nets.weights(_network()), x, persistent),
    }
    sizes = nets.widths(first)
    gradient = [*nets.forward_products(sizes, BATCH), *nets.input_products(sizes, BATCH)]
    floor = nets.floor([*gradient * K, *nets.training_products(sizes, 2 * BATCH)])
    found = Measurement(agreements=require_agreement(_agreements(x)))
    found.times = measure_times(
        [*(Variant(name, call) for name, call in variants.items()), Variant(FLOOR, floor)], effort
    )
    found.notes.append("each library fills its replay buffer and draws from it in its own way")
    return found


def _network() -> MLP:
    return nets.mlp(2, 128, 2, ACTIVATION)


def _method(persistent: bool, x: Tensor) -> CD:
    start = "persistent" if persistent else "data"
    return CD((2,), Langevin(EPS), Gaussian(x), K, start, BUFFER, RESTART)


def _ours(energy: MLP, x: Tensor, persistent: bool) -> Callable[[], object]:
    method, rng = _method(persistent, x), nets.generator(3)
    method.prepare(x, rng)
    return training_step(method, energy, x, rng)


def training_step(method: Method, energy: MLP, x: Tensor, rng: torch.Generator) -> Callable[[], object]:
    """A step as the loop of `ebm train` takes it: the loss of the method, its gradient, and the optimizer."""
    parameters = method.players(energy)["energy"]
    flat = Flat(parameters)
    move = make_step(torch.optim.Adam(parameters, lr=LR, fused=True), flat)

    def step() -> None:
        flat.backward(method.loss(energy, x, rng).loss)
        move()

    return step


def module_step(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """A step of torch's own: the loss that the module computes of x, its gradient, and Adam."""
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad()
        module(x).backward()
        optimizer.step()

    return step


def _torchebm(energy: MLP, x: Tensor, persistent: bool) -> Callable[[], object]:
    loss_fn = _torchebm_loss(energy, persistent)
    optimizer = torch.optim.Adam(energy.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad()
        loss_fn(x)[0].backward()
        optimizer.step()

    return step


def _torchebm_loss(energy: MLP, persistent: bool) -> ContrastiveDivergence:
    model = nets.Torchebm(energy)
    sampler = LangevinDynamics(model, step_size=EPS)
    return ContrastiveDivergence(
        model, sampler, k_steps=K, persistent=persistent, buffer_size=BUFFER, energy_reg_weight=0.0
    )


def _ebmkit(energy: MLP, x: Tensor, persistent: bool) -> Callable[[], object]:
    sampler = ebm.samplers.langevin.LangevinDynamics(step_size=EPS, steps=K)
    buffer = ebm.buffer.ReplayBuffer(BUFFER, (2,), RESTART) if persistent else None
    loss_fn = ebm.losses.cd.ContrastiveDivergence(sampler, buffer, init_fn=None if persistent else lambda shape: x)
    network = nets.flat(energy)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)

    def step() -> None:
        optimizer.zero_grad()
        loss_fn(network, x).loss.backward()
        optimizer.step()

    return step


def _jax(params: nets.Weights, x: Tensor, persistent: bool) -> Callable[[], object]:
    """Chains, loss, gradient, Adam and the buffer in one jitted step."""
    move, adam, energy = peers.langevin_step(ACTIVATION, EPS), optax.adam(LR), nets.jax_energy(ACTIVATION)

    def loss(params: Any, plus: Any, minus: Any) -> Any:
        return energy(params, plus).mean() - energy(params, minus).mean()

    @jax.jit
    def step(params: Any, state: Any, buffer: Any, x: Any, key: Any) -> Any:
        key, chain, rows, anew, noise = jax.random.split(key, 5)
        start = x
        if persistent:
            drawn = jax.random.randint(rows, (BATCH,), 0, BUFFER)
            fresh = jax.random.normal(noise, x.shape, x.dtype)
            start = jnp.where(jax.random.uniform(anew, (BATCH, 1)) < RESTART, fresh, buffer[drawn])

        def body(at: Any, key: Any) -> Any:
            return move(params, at, jax.random.normal(key, at.shape, at.dtype)), None

        end = jax.lax.scan(body, start, jax.random.split(chain, K))[0]
        if persistent:
            buffer = buffer.at[drawn].set(end)
        updates, state = adam.update(jax.grad(loss)(params, x, end), state)
        return optax.apply_updates(params, updates), state, buffer, key

    held = {
        "all": (params, adam.init(params), jnp.asarray(nets.points(BUFFER if persistent else 1, 2, seed=5).numpy()))
    }
    points, keys = jnp.asarray(x.numpy()), {"key": jax.random.key(0)}

    def call() -> Any:
        *moved, keys["key"] = step(*held["all"], points, keys["key"])
        held["all"] = tuple(moved)
        return jax.block_until_ready(held["all"])

    return call


def _agreements(x: Tensor) -> list[Agreement]:
    """Chains from the data with the same noise: the same loss and gradient in torchebm."""
    energy, rng = _network(), nets.generator(7)
    loss = _method(False, x).loss(energy, x, rng).loss
    loss.backward()
    ours = nets.torch_gradient(energy)
    energy.zero_grad()
    theirs = _torchebm_loss(energy, False)(x, generator=nets.generator(7))[0]
    theirs.backward()
    step, at, noise = peers.langevin_step(ACTIVATION, EPS), jnp.asarray(x.numpy()), nets.generator(7)
    params, function = nets.weights(energy), nets.jax_energy(ACTIVATION)
    for _ in range(K):
        at = step(params, at, jnp.asarray(torch.randn(x.shape, generator=noise).numpy()))
    plus = jnp.asarray(x.numpy())
    gradient = jax.grad(lambda p: function(p, plus).mean() - function(p, at).mean())(params)
    # The loss is the difference of two means that nearly cancel, so it is compared in nats.
    return [
        Agreement("loss, torchebm", abs(float(loss.detach()) - float(theirs.detach())), 1e-5),
        nets.agreement("gradient, torchebm", nets.torch_gradient(energy), ours, 1e-3),
        nets.agreement("gradient, JAX", nets.jax_gradient(gradient), ours, 1e-3),
    ]
