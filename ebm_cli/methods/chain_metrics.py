"""Metrics of the chains of a step of cd, the signs of divergence in these, and what the chains cost."""

from torch import Tensor

from ebm_cli.methods import jarzynski
from ebm_cli.methods.base import Evaluations, Symptom
from ebm_cli.methods.chains import Chains, Course
from ebm_cli.samplers.base import gradients

SYMPTOMS = (
    Symptom(
        "dead_chains",
        0.5,
        "most chains have diverged, their coordinates are not finite",
        "lower sampler.step_size, or choose sampler=mala, which rejects such steps",
        names_step_size=True,
    ),
    Symptom(
        "energy_gap",
        1e6,
        "the energies have exploded, those of data and chains differ by more than a million nats",
        "lower optimizer.lr or sampler.step_size, or raise method.l2 or method.k",
    ),
)
CLAMPED = Symptom(
    "at_clamp",
    0.5,
    "most coordinates of the chains are at their bound sampler.clamp_sample",
    "lower optimizer.lr, or raise energy.base: the energy falls towards the bound",
    steps=100,
)


def metrics_of(chains: Chains, acceptance: Tensor | None, clamp: float | None) -> dict[str, Tensor]:
    """Metrics of chains that have run.

    Args:
        chains: of the step.
        acceptance: rate of their proposals []; None without an acceptance test.
        clamp: bound of their coordinates, > 0; None if they have none.
    """
    metrics = {"chain_length": chains.age.mean(), "dead_chains": 1 - chains.finite.float().mean()}
    if acceptance is not None:
        metrics["acceptance"] = acceptance
    if chains.jumps is not None:
        metrics["jumps"] = chains.jumps
    if chains.info.swaps is not None:
        metrics["swap_rate"] = chains.info.swaps.mean(0).min()
    if clamp is not None:
        metrics["at_clamp"] = (chains.end.abs() >= clamp).float().mean()
    if chains.pool is not None:
        metrics["weights_ess"] = chains.pool.effective_share
    return metrics


def cost_of(chains: Chains, course: Course, n_witnesses: int) -> Evaluations:
    """Evaluations of a step, with the two energies a data row of the loss itself.

    Args:
        chains: that have run.
        course: of theirs.
        n_witnesses: weighted chains beside them, ≥ 0, which take the same steps.
    """
    kernel, k = course.kernel, course.k
    jumps = 0 if chains.jumps is None else 2 * course.jumps
    n_gradients = gradients(kernel, k, chains.info)
    if chains.walkers is None:
        # A chain with a correction also evaluates where it starts.
        return Evaluations(energy=2 + kernel.evaluations(k).energy + jumps, grad=n_gradients)
    each, share = jarzynski.cost(kernel, k), 1 + n_witnesses / len(chains.end)
    grad = each.grad if chains.info.gradients is None else n_gradients
    return Evaluations(energy=2 + jumps + share * each.energy, grad=share * grad)
