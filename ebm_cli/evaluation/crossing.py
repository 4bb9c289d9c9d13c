"""Chains that have not met are run again, with tempering (`eval.fallback`).

Chains that stay where they start have the weights of the starts. Replicas at higher temperatures carry them from mode
to mode, at several times the cost of a step. What the first chains cost is known before they run, what they find is
not: so the tempered ones follow only where R̂ says that the first have not mixed, in a tenth of the number of chains,
each ten times as long, and the samples are theirs where their R̂ is lower.

Whether they can follow is a fixed rule on the shape of the points and on the work, never on a time.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.chain_verdicts import UNMIXED
from ebm_cli.evaluation.model_samples import Drawn, n_steps
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values, number
from ebm_cli.samplers import Kernel, Tempering
from ebm_cli.samplers.metric import Preconditioned

FEWER = 10
"""Chains of the first attempt for one of the second, which is as many times as long."""
LEAST = 10
"""Chains of the second attempt."""
MOST_WORK = 3e11
"""Gradients × parameters that `auto` allows: a minute or two on one core of a CPU."""


def crossed(first: Drawn, energy: Energy, protocol: Protocol, starts: Tensor, again: Callable[[int], Drawn]) -> Drawn:
    """The samples of chains, or where these have not mixed those of tempered chains, with one note that says which.

    Args:
        first: of the chains.
        energy, protocol, starts: that they were drawn with.
        again: draws by so many chains of `tempered_kernel`, from the first of the starts.

    Returns:
        The samples. Their costs count both attempts; `sampler/rhat_first` is the R̂ of the first,
        where the samples are those of the second, else `sampler/rhat_second` that of the second.

    Cost: of the second attempt, about n_replicas times that of the first where burn-in is short.
    """
    p, kernel = protocol, protocol.kernel
    rhat = number(first.results.values, "sampler/rhat")
    if p.fallback == "none" or kernel.has_ladder or rhat is None or rhat < UNMIXED:
        return first
    tempered, n = tempered_kernel(kernel), min(len(starts), max(LEAST, len(starts) // FEWER))
    steps = p.burn_in + n_steps(p.n_samples, n)
    why = why_not(energy, starts.shape[1:], n * tempered.evaluations(steps).grad)
    if why is not None and p.fallback == "auto":
        return _noting(first, f"Tempering was not tried on these chains: {why}; eval.fallback=tempering tries it.")
    second = again(n)
    values = second.results.values
    now, name = number(values, "sampler/rhat"), type(kernel).__name__.lower()
    if now is None or now >= rhat or (problems(values) and not problems(first.results.values)):
        found = "have no R-hat" if now is None else f"have R-hat {now:.4g}"
        said = f"Chains with tempering are no better ({found}): the samples are those of {name}."
        kept = _with_costs_of(first, second)
        other = Results() if now is None else Results({"sampler/rhat_second": now})
        return _noting(replace(kept, results=kept.results | other), said)
    said = (
        f"The chains of {name} had not mixed (R-hat {rhat:.4g}): these samples are those of {n} chains with tempering "
        f"({tempered.n_points} replicas each, R-hat {now:.4g})."
    )
    apart = min(len(starts) // n, int(_effective(values)) // n)
    chosen = _with_costs_of(replace(second, n_apart=max(1, apart)), first)
    return _noting(replace(chosen, results=chosen.results | Results({"sampler/rhat_first": rhat})), said)


def tempered_kernel(kernel: Kernel) -> Tempering:
    """The default ladder over a kernel, without a metric: burn-in measures none of replicas."""
    inner = replace(kernel, metric="none") if isinstance(kernel, Preconditioned) else kernel
    return Tempering(step_size=inner.step_size, temperature=inner.temperature, kernel=inner)


def why_not(energy: Energy, shape: torch.Size, n_gradients: int) -> str | None:
    """Why `auto` does not temper: images need long ladders, large energies long times; None where it does."""
    if len(shape) > 1:
        return "it needs a long ladder for images"
    n_parameters = sum(parameter.numel() for parameter in energy.parameters())
    if n_gradients * n_parameters > MOST_WORK:
        return f"it would take {n_gradients:.2g} gradients of {n_parameters:,} parameters"
    return None


def _effective(values: Values) -> float:
    """The smaller effective sample size, of the bulk or of the tails."""
    return min(number(values, f"sampler/ess_{part}") or 0.0 for part in ("bulk", "tail"))


def _with_costs_of(drawn: Drawn, other: Drawn) -> Drawn:
    gradients, seconds = drawn.gradients + other.gradients, drawn.seconds + other.seconds
    return replace(drawn, gradients=gradients, seconds=seconds).with_costs()


def _noting(drawn: Drawn, note: str) -> Drawn:
    return replace(drawn, results=drawn.results | Results(notes=(note,)))
