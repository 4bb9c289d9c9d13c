"""`python -m tests.benchmarks.moments`: gradients to right second moments, ours and those of blackjax.

    python -m tests.benchmarks.moments [only=banana,logistic] [samplers=nuts,mclmc] [peer=0]

Chains from exact draws (or, without a closed form, from long chains) estimate E x_i² by the mean over their draws so
far, with

    b² = mean over i of (estimate − E x_i²)²/Var x_i²

What is counted is the gradients a chain until the median of b² over the chains stays below 0.01 (Hoffman & Sountsov
2022, with a mean for their largest). Either library tunes its samplers first, by its own rules and defaults, with the
same number of transitions, which are not counted; metrics are diagonal. Ours tunes all chains at once. blackjax tunes
each chain for itself, and its chains then share the medians, which is better than what a chain alone has found.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ebm_cli.samplers import HMC, MALA, MCLMC, NUTS, Kernel, Underdamped, adapt

from .bias import MOST_GRADIENTS, Bias, squared_bias
from .targets import TARGETS, Target, Truth


@dataclass(frozen=True)
class Contender:
    """A sampler: our kernel, the transitions of its tuning, and its name in blackjax, if it has one."""

    kernel: Kernel
    tuning: int
    peer: bool


CONTENDERS = {
    "mclmc": Contender(MCLMC(energy_error=5e-4, metric="diagonal"), 1000, peer=True),
    "nuts": Contender(NUTS(metric="diagonal"), 500, peer=True),
    "mala": Contender(MALA(metric="diagonal"), 1000, peer=True),
    "hmc": Contender(HMC(metric="diagonal"), 500, peer=False),
    "underdamped": Contender(Underdamped(energy_error=5e-4, metric="diagonal"), 2000, peer=False),
}


def ours(contender: Contender, target: Target, truth: Truth, seed: int = 0) -> tuple[float, str]:
    """Gradients a chain; infinite if b² is not below the bound then, and what was tuned."""
    rng = torch.Generator().manual_seed(seed)
    x = truth.draw(target.n_chains, rng).float()
    kernel, _ = adapt(contender.kernel, target.in_torch, x, contender.tuning, rng)
    state = kernel.init(target.in_torch, x, rng)
    total, gradients, bias = torch.zeros_like(x, dtype=torch.float64), 0.0, Bias()
    fixed = kernel.evaluations(2).grad - kernel.evaluations(1).grad
    for n in range(1, MOST_GRADIENTS):
        state, info = kernel.step(target.in_torch, state, rng)
        total += state.x.double().square()
        gradients += fixed if info.gradients is None else float(info.gradients.mean())
        if bias.add(squared_bias(total, n, truth).view(1)):
            return gradients / bias.steps * (bias.above + 1), _tuned(kernel)
        if gradients > MOST_GRADIENTS:
            break
    return float("inf"), f"b² {bias.last:.3g} at last; {_tuned(kernel)}"


def _tuned(kernel: Kernel) -> str:
    values = {
        "eps": kernel.step_size,
        "L": getattr(kernel, "length", None),
        "friction": getattr(kernel, "friction", None),
    }
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)


def measured(
    names: Sequence[str], samplers: Sequence[str], with_peer: bool
) -> Iterator[tuple[str, str, str, float, str]]:
    """Target, sampler, library, gradients, and what was tuned."""
    for name in names:
        target = TARGETS[name]
        truth = target.truth(target)
        if with_peer:
            from . import peers

            print(f"{name}: log densities agree to {peers.disagreement(target, truth):.1e}", flush=True)
        for sampler in samplers:
            contender = CONTENDERS[sampler]
            yield name, sampler, "ebm", *ours(contender, target, truth)
            if with_peer and contender.peer:
                yield name, sampler, "blackjax", *peers.theirs(sampler, contender.tuning, target, truth)


def main(words: Sequence[str]) -> None:
    options = dict(word.split("=", 1) for word in words)
    names = options.get("only", ",".join(TARGETS)).split(",")
    samplers = options.get("samplers", ",".join(CONTENDERS)).split(",")
    torch.set_num_threads(1)
    for name, sampler, library, gradients, tuned in measured(names, samplers, options.get("peer", "1") != "0"):
        print(f"{name:10} {sampler:12} {library:9} {gradients:12,.0f}   {tuned}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
