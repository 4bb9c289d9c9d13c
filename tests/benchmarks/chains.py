"""Rows of chains: steps of ULA, MALA, HMC and tempering from standard normal points, SiLU networks without a base.

A unit of work is one step of all chains. Peers that can jit their whole chain do.
"""

from collections.abc import Callable
from typing import Any

import blackjax
import jax.numpy as jnp
import numpy as np
import torch
from ebm.samplers import hmc as ebmkit_hmc
from ebm.samplers import langevin as ebmkit_langevin
from ebm.samplers import tempering as ebmkit_tempering
from torch import Tensor
from torchebm.samplers import LangevinDynamics

from ebm_cli.energies.mlp import MLP
from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.tempering import Tempering

from . import networks as nets
from . import peers
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

ACTIVATION = "silu"
EPS = 0.01
N_LEAPFROG = 10
NETWORKS = {"2-128-128-128-1": (2, 128, 3), "2-64-64-1": (2, 64, 2), "64-256-256-1": (64, 256, 2)}
"""Name → D, width, depth."""
CHAINS = (1, 16, 64, 1024, 65536)
REACH = {"2-128-128-128-1": (1.5, 2.5), "2-64-64-1": (2.0, 4.0), "64-256-256-1": (1.25, 2.0)}
"""Target ratios to torchebm with 1,024 chains: portable, fastest."""
SAME_NOISE = 1e-4
"""Relative distance of chains after 10 steps with the same noise, in float32."""
STANDARD_ERRORS = 5.0
LADDER = (1.0, 0.5, 0.25, 0.125)
"""Inverse temperatures of replicas: those that ebmkit has when none are named."""


def rows() -> list[Row]:
    return [
        *(_ula(name, n) for n in CHAINS for name in NETWORKS if n == 1024 or name == "2-128-128-128-1"),
        *(_mala(n) for n in (64, 1024)),
        *(_hmc(n) for n in (64, 1024)),
        *(_tempering(n) for n in (64, 1024)),
    ]


# --- unadjusted Langevin ----------------------------------------------------------------------------------------------


def _ula(network: str, n: int) -> Row:
    portable, fastest = REACH[network] if n == 1024 else (None, 8.0 if n == 16 else None)
    targets = []
    if portable is not None:
        targets.append(Target("ours, portable", "torchebm", portable))
    if fastest is not None:
        targets.append(Target("ours, native", "torchebm", fastest))
    if n == 1024:
        targets += [Target("ours, native", "JAX scan", 1.0), Target("ours, native", "blackjax", 1.0)]
    return Row(
        name=f"ula-{network}-{n}",
        title=f"Langevin, {n:,} chain{'s' * (n > 1)}, {network}",
        measure=lambda effort: _measure_ula(network, n, effort),
        base="torchebm",
        targets=tuple(targets),
    )


def _measure_ula(network: str, n: int, effort: Effort) -> Measurement:
    energy, x = nets.mlp(*NETWORKS[network], ACTIVATION), nets.points(n, NETWORKS[network][0])
    params, n_steps = nets.weights(energy), _steps(n)
    kernel, peer = Langevin(step_size=EPS), LangevinDynamics(nets.Torchebm(energy), step_size=EPS)
    ours = {"ours, portable": energy, "ours, native": nets.native(energy)}
    jaxes = {
        "JAX scan": peers.with_new_keys(peers.langevin_chain(ACTIVATION, EPS, n_steps), params, x),
        "blackjax": peers.with_new_keys(peers.blackjax_sgld(ACTIVATION, EPS, n_steps), params, x),
    }
    reference = run(kernel, energy, x, 10, nets.generator(7))[0].x
    found = Measurement()
    found.agreements = require_agreement(
        [
            *(
                nets.agreement(
                    f"10 steps, {name}", run(kernel, other, x, 10, nets.generator(7))[0].x, reference, SAME_NOISE
                )
                for name, other in ours.items()
            ),
            nets.agreement(
                "10 steps, torchebm", peer.sample(x=x, n_steps=10, generator=nets.generator(7)), reference, SAME_NOISE
            ),
            nets.agreement("10 steps, JAX", _jax_same_noise(params, x), reference, SAME_NOISE),
            *(_same_distribution(name, energy, run(kernel, energy, x, n_steps, nets.generator(8))[0].x, call)
              for name, call in jaxes.items()),
        ]
    )  # fmt: skip
    rng = nets.generator(3)
    variants = [
        *(Variant(name, _ours(kernel, other, x, n_steps, rng), n_steps) for name, other in ours.items()),
        Variant("torchebm", lambda: peer.sample(x=x, n_steps=n_steps, generator=rng), n_steps),
        *(Variant(name, call, n_steps) for name, call in jaxes.items()),
        Variant(FLOOR, nets.floor(_gradient_products(energy, n))),
    ]
    found.times = measure_times(variants, effort)
    return found


def _jax_same_noise(params: Any, x: Tensor) -> np.ndarray:
    """Ten steps of the JAX chain with the noise that our chain draws from generator 7."""
    step, rng, at = peers.langevin_step(ACTIVATION, EPS), nets.generator(7), jnp.asarray(x.numpy())
    for _ in range(10):
        at = step(params, at, jnp.asarray(torch.randn(x.shape, generator=rng).numpy()))
    return np.asarray(at)


# --- kernels with a correction ----------------------------------------------------------------------------------------

CORRECTED = "2-128-128-128-1"
MALA_EPS, HMC_EPS = 0.05, 0.1


def _mala(n: int) -> Row:
    return Row(
        name=f"mala-{n}",
        title=f"MALA, {n:,} chains, {CORRECTED}",
        measure=lambda effort: _measure_corrected(
            n,
            MALA(step_size=MALA_EPS),
            ebmkit_langevin.MALA(step_size=MALA_EPS),
            lambda log_p: blackjax.mala(log_p, MALA_EPS),
            1,
            effort,
        ),
        base="ebmkit",
        targets=(Target("ours, native", "ebmkit", 2.0), Target("ours, native", "blackjax", 1.0)),
    )


def _hmc(n: int) -> Row:
    return Row(
        name=f"hmc-{n}",
        title=f"HMC, {N_LEAPFROG} leapfrogs, {n:,} chains, {CORRECTED}",
        measure=lambda effort: _measure_corrected(
            n,
            HMC(step_size=HMC_EPS, n_leapfrog=N_LEAPFROG, jitter=0),
            ebmkit_hmc.HMC(step_size=HMC_EPS, leapfrog_steps=N_LEAPFROG),
            lambda log_p: blackjax.hmc(log_p, HMC_EPS, jnp.ones(2), N_LEAPFROG),
            N_LEAPFROG,
            effort,
        ),
        base="ebmkit",
        targets=(Target("ours, native", "ebmkit", 2.0),),
    )


def _measure_corrected(
    n: int, kernel: Kernel, ebmkit: Any, make: Callable[[Any], Any], gradients: int, effort: Effort
) -> Measurement:
    energy, x = nets.mlp(*NETWORKS[CORRECTED], ACTIVATION), nets.points(n, 2)
    params, rng = nets.weights(energy), nets.generator(3)
    n_steps = max(5, _steps(n) // gradients)
    jaxed = peers.with_new_keys(peers.blackjax_many(make, ACTIVATION, n_steps), params, x)
    native, flat = nets.native(energy), nets.flat(energy)
    ends = {
        "ours": run(kernel, energy, x, n_steps, nets.generator(7)),
        "ebmkit": (ebmkit.sample(flat, x, steps=n_steps), None),
        "blackjax": jaxed(),
    }
    state, info = ends["ours"]
    found = Measurement()
    found.agreements = require_agreement(
        [
            nets.agreement("5 steps, native", *(_end(kernel, e, x) for e in (native, energy)), SAME_NOISE),
            _same_distribution("ebmkit", energy, state.x, lambda: ends["ebmkit"][0]),
            _same_distribution("blackjax", energy, state.x, lambda: ends["blackjax"][0]),
            Agreement("acceptance, blackjax", abs(float(info.accept.mean()) - float(ends["blackjax"][1])), 0.05),
        ]
    )
    variants = [
        Variant("ours, portable", _ours(kernel, energy, x, n_steps, rng), n_steps),
        Variant("ours, native", _ours(kernel, native, x, n_steps, rng), n_steps),
        Variant("ebmkit", lambda: ebmkit.sample(flat, x, steps=n_steps), n_steps),
        Variant("blackjax", jaxed, n_steps),
        Variant(FLOOR, nets.floor(_gradient_products(energy, n) * gradients)),
    ]
    found.times = measure_times(variants, effort)
    return found


# --- parallel tempering -----------------------------------------------------------------------------------------------


def _tempering(n: int) -> Row:
    return Row(
        name=f"tempering-{n}",
        title=f"Parallel tempering over MALA, {len(LADDER)} replicas, {n:,} chains, {CORRECTED}",
        measure=lambda effort: _measure_tempering(n, effort),
        base="ebmkit",
        targets=(Target("ours, native", "ebmkit", 2.0),),
    )


def _measure_tempering(n: int, effort: Effort) -> Measurement:
    energy, x, rng = nets.mlp(*NETWORKS[CORRECTED], ACTIVATION), nets.points(n, 2), nets.generator(3)
    native, flat, n_steps = nets.native(energy), nets.flat(energy), max(5, _steps(n) // len(LADDER))
    kernel = Tempering(step_size=MALA_EPS, kernel=MALA(), ladder=LADDER)
    ebmkit = ebmkit_tempering.ParallelTempering(
        ebmkit_langevin.MALA(step_size=MALA_EPS), temperatures=tuple(1 / beta for beta in LADDER)
    )
    ends = run(kernel, energy, x, n_steps, nets.generator(7))[0].x
    found = Measurement()
    found.agreements = require_agreement(
        [
            nets.agreement("5 steps, native", *(_end(kernel, e, x) for e in (native, energy)), SAME_NOISE),
            _same_distribution("ebmkit", energy, ends, lambda: ebmkit.sample(flat, x, steps=n_steps)),
        ]
    )
    variants = [
        Variant("ours, portable", _ours(kernel, energy, x, n_steps, rng), n_steps),
        Variant("ours, native", _ours(kernel, native, x, n_steps, rng), n_steps),
        Variant("ebmkit", lambda: ebmkit.sample(flat, x, steps=n_steps), n_steps),
        Variant(FLOOR, nets.floor(_gradient_products(energy, n * len(LADDER)))),
    ]
    found.times = measure_times(variants, effort)
    return found


# --- what they share --------------------------------------------------------------------------------------------------


def _ours(kernel: Kernel, energy: MLP, x: Tensor, n_steps: int, rng: torch.Generator) -> Callable[[], object]:
    return lambda: run(kernel, energy, x, n_steps, rng)


def _end(kernel: Kernel, energy: MLP, x: Tensor) -> Tensor:
    return run(kernel, energy, x, 5, nets.generator(7))[0].x


def _steps(n: int) -> int:
    """Steps of a call: many enough that its start is negligible, few enough that rounds are short."""
    return max(5, min(100, 100_000 // n))


def _gradient_products(energy: MLP, n: int) -> list[nets.Product]:
    sizes = nets.widths(energy)
    return [*nets.forward_products(sizes, n), *nets.input_products(sizes, n)]


def _same_distribution(name: str, energy: MLP, ours: Tensor, sample: Callable[[], Any]) -> Agreement:
    """Agreement of the mean energies at the ends of two sets of chains, in standard errors of the difference."""
    with torch.no_grad():
        a, b = energy(ours), energy(torch.as_tensor(np.array(sample())))
    # A single chain has no standard error.
    spread = a.var() + b.var() if len(a) > 1 else energy(nets.points(256, ours.shape[1])).detach().var() * 2
    error = float((spread / len(a)).sqrt())
    return Agreement(f"mean energy, {name}, standard errors", abs(float(a.mean() - b.mean())) / error, STANDARD_ERRORS)
