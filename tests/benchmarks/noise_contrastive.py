"""A row of noise contrastive estimation: a whole training step, batch 256 with as much noise, 2-128-128-1 SiLU."""

from collections.abc import Callable
from typing import Any

import ebm.losses.nce
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.energies.mlp import MLP
from ebm_cli.methods.nce import NCE

from . import networks as nets
from .contrastive import module_step, training_step
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

BATCH, ACTIVATION, LR = 256, "silu", 1e-3
SEPARATE = "torch.distributions"


def rows() -> list[Row]:
    return [
        Row(
            name="nce",
            title=f"NCE step, batch {BATCH}, 2-128-128-1",
            measure=_measure,
            base=SEPARATE,
            # At most 2.5 times the floor.
            targets=(Target("ours", SEPARATE, 1.7), Target("ours", FLOOR, 1 / 2.5)),
        )
    ]


def _measure(effort: Effort) -> Measurement:
    x = nets.points(BATCH, 2)
    energy = _network()
    variants = [
        Variant("ours", training_step(NCE(Gaussian(x)), energy, x, nets.generator(3))),
        Variant(SEPARATE, module_step(_Separate(_network(), x), x)),
        Variant("ebmkit", module_step(_Ebmkit(_network(), x), x)),
        Variant("JAX, whole step", _jax(nets.weights(_network()), x)),
        Variant(FLOOR, nets.floor(nets.training_products(nets.widths(energy), 2 * BATCH))),
    ]
    found = Measurement(agreements=require_agreement(_agreements(x)))
    found.times = measure_times(variants, effort)
    return found


def _network() -> MLP:
    return nets.mlp(2, 128, 2, ACTIVATION)


def _normal(x: Tensor) -> torch.distributions.MultivariateNormal:
    noise = Gaussian(x)
    return torch.distributions.MultivariateNormal(noise.mean, scale_tril=noise.factor)


class _Separate(nn.Module):
    """A handwritten loss: two forward passes, and log-densities from torch.distributions."""

    def __init__(self, energy: MLP, x: Tensor) -> None:
        super().__init__()
        self.network, self.noise = nets.plain(energy), _normal(x)
        self.log_z = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        y = self.noise.sample((len(x),)) if y is None else y
        h_data = -self.network(x).squeeze(-1) - self.log_z - self.noise.log_prob(x)
        h_noise = -self.network(y).squeeze(-1) - self.log_z - self.noise.log_prob(y)
        ones, zeros = torch.ones_like(h_data), torch.zeros_like(h_noise)
        bce = F.binary_cross_entropy_with_logits
        return bce(h_data, ones) + bce(h_noise, zeros)


class _Ebmkit(nn.Module):
    def __init__(self, energy: MLP, x: Tensor) -> None:
        super().__init__()
        self.network = nets.flat(energy)
        self.loss_fn = ebm.losses.nce.NoiseContrastiveEstimation(_normal(x))

    def forward(self, x: Tensor) -> Tensor:
        loss: Tensor = self.loss_fn(self.network, x).loss
        return loss


def _jax_loss(params: Any, log_z: Any, x: Any, y: Any, mean: Any, whiten: Any, log_norm: Any) -> Any:
    both = jnp.concatenate((x, y))
    log_q = log_norm - 0.5 * jnp.sum(((both - mean) @ whiten.T) ** 2, 1)
    h = -nets.jax_energy(ACTIVATION)(params, both) - log_z - log_q
    return jax.nn.softplus(-h[: len(x)]).mean() + jax.nn.softplus(h[len(x) :]).mean()


def _jax(params: nets.Weights, x: Tensor) -> Callable[[], object]:
    noise, adam = Gaussian(x), optax.adam(LR)
    mean, factor, whiten, log_norm = (
        jnp.asarray(part.numpy()) for part in (noise.mean, noise.factor, noise.whiten, noise.log_norm)
    )

    @jax.jit
    def step(trained: Any, state: Any, key: Any, x: Any) -> Any:
        key, now = jax.random.split(key)
        y = mean + jax.random.normal(now, x.shape, x.dtype) @ factor.T
        gradient = jax.grad(lambda t: _jax_loss(*t, x, y, mean, whiten, log_norm))(trained)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(trained, updates), state, key

    trained = (params, jnp.zeros(()))
    held = {"all": (trained, adam.init(trained), jax.random.key(0))}
    points = jnp.asarray(x.numpy())

    def call() -> Any:
        held["all"] = step(*held["all"], points)
        return jax.block_until_ready(held["all"])

    return call


def _agreements(x: Tensor) -> list[Agreement]:
    """Agreement of loss and gradient on the noise that our method draws."""
    energy, noise = _network(), Gaussian(x)
    y = noise.sample(BATCH, nets.generator(7))
    loss = NCE(noise).loss(energy, x, nets.generator(7)).loss
    loss.backward()
    ours = nets.torch_gradient(energy)
    energy.zero_grad()
    separate = _Separate(energy, x)(x, y)
    separate.backward()
    statics = [jnp.asarray(part.numpy()) for part in (noise.mean, noise.whiten, noise.log_norm)]
    arrays = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())
    jaxed, gradient = jax.value_and_grad(_jax_loss)(nets.weights(energy), jnp.zeros(()), *arrays, *statics)
    value = np.array([float(loss.detach())])
    return [
        nets.agreement(f"loss, {SEPARATE}", [float(separate.detach())], value, 1e-5),
        nets.agreement("loss, JAX", [float(jaxed)], value, 1e-5),
        nets.agreement(f"gradient, {SEPARATE}", nets.torch_gradient(energy), ours, 1e-4),
        nets.agreement("gradient, JAX", nets.jax_gradient(gradient), ours, 1e-4),
    ]
