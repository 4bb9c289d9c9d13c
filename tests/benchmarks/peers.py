"""Chains of the peers, each in the fastest form that its library documents: jitted, by scan, vectorised."""

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
from torch import Tensor

from . import networks as nets

Chain = Callable[[Any, Any, Any], Any]
"""(weights, x [B, D], key) → x after n steps; jitted."""


def langevin_step(activation: str, eps: float) -> Callable[[Any, Any, Any], Any]:
    """One step of unadjusted Langevin dynamics in plain JAX, given its noise."""
    gradient = jax.grad(lambda x, params: nets.jax_energy(activation)(params, x).sum())
    return lambda params, x, z: x - eps * gradient(x, params) + (2 * eps) ** 0.5 * z


def langevin_chain(activation: str, eps: float, n_steps: int) -> Chain:
    """The whole chain, jitted, by scan."""
    step = langevin_step(activation, eps)

    @jax.jit
    def chain(params: Any, x: Any, key: Any) -> Any:
        def body(x: Any, key: Any) -> Any:
            return step(params, x, jax.random.normal(key, x.shape, x.dtype)), None

        return jax.lax.scan(body, x, jax.random.split(key, n_steps))[0]

    return chain


def blackjax_sgld(activation: str, eps: float, n_steps: int) -> Chain:
    """The overdamped Langevin kernel of blackjax; all chains are one position, so that its gradient is one batch."""

    @jax.jit
    def chain(params: Any, x: Any, key: Any) -> Any:
        def gradient(x: Any, _: Any) -> Any:
            return jax.grad(lambda x: -nets.jax_energy(activation)(params, x).sum())(x)

        kernel = blackjax.sgld(gradient)
        return jax.lax.scan(lambda x, key: (kernel.step(key, x, None, eps), None), x, jax.random.split(key, n_steps))[0]

    return chain


def blackjax_many(make: Callable[[Callable[[Any], Any]], Any], activation: str, n_steps: int) -> Chain:
    """A kernel of blackjax with a correction, vectorised over the chains, by scan; x and the mean acceptance."""

    @jax.jit
    def chain(params: Any, x: Any, key: Any) -> Any:
        kernel = make(lambda row: -nets.jax_energy(activation)(params, row))

        def body(states: Any, key: Any) -> Any:
            states, info = jax.vmap(kernel.step)(jax.random.split(key, len(x)), states)
            return states, info.acceptance_rate.mean()

        states, accepted = jax.lax.scan(body, jax.vmap(kernel.init)(x), jax.random.split(key, n_steps))
        return states.position, accepted.mean()

    return chain


def with_new_keys(chain: Chain, params: nets.Weights, x: Tensor) -> Callable[[], Any]:
    """A function that runs the chain with a new key in each call."""
    start, keys = jnp.asarray(x.numpy()), {"key": jax.random.key(0)}

    def call() -> Any:
        keys["key"], now = jax.random.split(keys["key"])
        return jax.block_until_ready(chain(params, start, now))

    return call
