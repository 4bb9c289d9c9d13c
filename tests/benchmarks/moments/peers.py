"""The samplers of blackjax for `tests.benchmarks.moments`, tuned by its own rules."""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from blackjax.adaptation.step_size import dual_averaging_adaptation
from torch import Tensor

from .bias import MOST_GRADIENTS, Bias
from .targets import Target, Truth

TUNED_CHAINS = 64
"""Chains that tune themselves, from whose parameters the medians are taken."""
BLOCK = 250
MALA_ACCEPT = 0.574

Step = Callable[[Any, Any], tuple[Any, Any]]
"""(key, state) → (state, gradients of the step)."""


def log_density(target: Target) -> Callable[[Any], Any]:
    data = tuple(jnp.asarray(part.float().numpy()) for part in target.data)
    return lambda x: -target.energy(jnp, x, data)


class Tuned(NamedTuple):
    """A sampler after its tuning.

    Attributes:
        states: of all chains.
        step: of one chain.
        words: what was tuned.
        scale: of the target's coordinates in units of the sampler's.
    """

    states: Any
    step: Step
    words: str
    scale: Any = 1.0


def disagreement(target: Target, truth: Truth) -> float:
    """Largest difference of the energies of a hundred draws, relative where they are above 1.

    Raises:
        ValueError: it is above 1e-5.
    """
    x = truth.draw(100, torch.Generator().manual_seed(3)).float()
    a, b = target.in_torch(x).numpy(), -np.asarray(jax.vmap(log_density(target))(_array(x)))
    largest = float((np.abs(a - b) / np.maximum(1, np.abs(a))).max())
    if not largest <= 1e-5:
        raise ValueError(f"{target.title}: energies {largest:.3g} apart")
    return largest


def theirs(name: str, tuning: int, target: Target, truth: Truth, seed: int = 0) -> tuple[float, str]:
    """Gradients a chain, of the sampler of this name after so many transitions of tuning, as those of ours."""
    x = _array(truth.draw(target.n_chains, torch.Generator().manual_seed(seed)).float())
    key = jax.random.key(seed)
    make = {"mclmc": _mclmc, "nuts": _nuts, "mala": _mala}[name]
    start, step, tuned, scale = make(log_density(target), x, tuning, key, truth)
    mean, variance = _array(truth.mean.float()), _array(truth.variance.float())

    @jax.jit
    def block(states: Any, total: Any, done: Any, key: Any) -> Any:
        def body(carry: Any, key: Any) -> Any:
            states, total, done = carry
            states, gradients = jax.vmap(step)(jax.random.split(key, len(x)), states)
            total, done = total + (states.position * scale) ** 2, done + 1
            bias = ((total / done - mean) ** 2 / variance).mean(1)
            return (states, total, done), (jnp.median(bias), gradients.mean())

        return jax.lax.scan(body, (states, total, done), jax.random.split(key, BLOCK))

    carry, gradients, bias = (start, jnp.zeros_like(x), 0.0), 0.0, Bias()
    while gradients < MOST_GRADIENTS:
        key, now = jax.random.split(key)
        carry, (medians, each) = block(*carry, now)
        gradients += float(each.sum())
        if bias.add(torch.as_tensor(np.array(medians))):
            return gradients / bias.steps * (bias.above + 1), tuned
    return float("inf"), f"b² {bias.last:.3g} at last; {tuned}"


def _mclmc(logdensity: Any, x: Any, n: int, key: Any, truth: Truth) -> Tuned:
    kernel = blackjax.mcmc.mclmc.build_kernel()

    def tune(x: Any, key: Any) -> Any:
        state = blackjax.mcmc.mclmc.init(x, logdensity, key)
        # A tenth, four thirds of a tenth and a tenth of the steps that are promised are those of the tuning.
        return blackjax.mclmc_find_L_and_step_size(
            mclmc_kernel=kernel, num_steps=3 * n, state=state, rng_key=key, logdensity_fn=logdensity
        )[1]

    found = _medians(tune, x, key)
    sampler = blackjax.mclmc(logdensity, found.L, found.step_size, inverse_mass_matrix=found.inverse_mass_matrix)
    states = jax.vmap(sampler.init)(x, jax.random.split(key, len(x)))

    def step(key: Any, state: Any) -> Any:
        state, _ = sampler.step(key, state)
        return state, jnp.asarray(2.0)

    return Tuned(states, step, f"eps {found.step_size:.3g}, L {found.L:.3g}")


def _nuts(logdensity: Any, x: Any, n: int, key: Any, truth: Truth) -> Tuned:
    nothing = blackjax.adaptation.base.get_filter_adapt_info_fn()

    def tune(x: Any, key: Any) -> Any:
        warmup = blackjax.window_adaptation(blackjax.nuts, logdensity, adaptation_info_fn=nothing)
        return warmup.run(key, x, num_steps=n)[0].parameters

    found = _medians(tune, x, key)
    sampler = blackjax.nuts(logdensity, found["step_size"], found["inverse_mass_matrix"])

    def step(key: Any, state: Any) -> Any:
        state, info = sampler.step(key, state)
        return state, info.num_integration_steps.astype(jnp.float32)

    return Tuned(jax.vmap(sampler.init)(x), step, f"eps {found['step_size']:.3g}")


def _mala(logdensity: Any, x: Any, n: int, key: Any, truth: Truth) -> Tuned:
    """Its mala has no metric and no tuning: the coordinates are those of the true scales, the rule is its own."""
    scale = _array(truth.mean.sqrt().float())

    def in_unit(y: Any) -> Any:
        return logdensity(y * scale)

    kernel = blackjax.mcmc.mala.build_kernel()
    init, update, final = dual_averaging_adaptation(MALA_ACCEPT)

    def tune(x: Any, key: Any) -> Any:
        def body(carry: Any, key: Any) -> Any:
            state, averaging = carry
            state, info = kernel(key, state, in_unit, jnp.exp(averaging.log_step_size))
            return (state, update(averaging, info.acceptance_rate)), None

        carry = blackjax.mcmc.mala.init(x / scale, in_unit), init(0.05)
        return final(jax.lax.scan(body, carry, jax.random.split(key, n))[0][1])

    eps = _medians(tune, x, key)
    sampler = blackjax.mala(in_unit, eps)

    def step(key: Any, state: Any) -> Any:
        return sampler.step(key, state)[0], jnp.asarray(1.0)

    return Tuned(jax.vmap(sampler.init)(x / scale), step, f"eps {eps:.3g}", scale)


def _medians(tune: Callable[[Any, Any], Any], x: Any, key: Any) -> Any:
    """The median over some chains of each parameter that `tune` finds."""
    found = jax.vmap(tune)(x[:TUNED_CHAINS], jax.random.split(key, TUNED_CHAINS))
    return jax.tree.map(lambda values: jnp.nanmedian(values, axis=0), found)


def _array(x: Tensor) -> Any:
    return jnp.asarray(x.numpy())
