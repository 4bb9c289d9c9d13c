"""The metric group `density`: log Z, KL, NLL, the error of log p, mode masses, and the method's own objective."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.evaluation import mode_weights
from ebm_cli.evaluation.annealing import anneal_back, bracket
from ebm_cli.evaluation.baselines import MIXTURE, NAMES
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.divergences import with_learned_log_z
from ebm_cli.evaluation.groups.score import is_score
from ebm_cli.evaluation.log_z import known
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.objective import objective
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value


def results(context: Context) -> Results:
    """The divergences that need log Z, those of the method's own densities, and the objective on held-out rows."""
    found, method = context.divergence_result.results, context.method
    if not context.is_asked("score"):
        found = replace(found, values={key: value for key, value in found.values.items() if not is_score(key)})
    found = _compared(found, context) | mode_weights.results(context)
    learned = method.learned_log_z(context.energy)
    # Weighted chains measure it; that of nce is a number that the sum of two losses moves.
    if learned is None and context.second is not None and context.second.persistent_chains() is not None:
        learned = context.second.learned_log_z(context.energy)
    if learned is not None:
        found = with_learned_log_z(found, float(learned.detach()))
    for name, density in method.densities().items():
        # In the plane log Z is summed, which shows that a log-density is wrong; beyond it is 0 by definition.
        log_z = None if context.divergences.data.is_on_grid else known(0.0)
        own = context.divergences(_energy_of(density), log_z).results.values
        found |= Results({f"eval/{name}_{key}": own[f"eval/{key}"] for key in ("kl", "nll") if f"eval/{key}" in own})
    if method.has_comparable_loss:
        found |= Results({"eval/objective": objective(context.energy, method, context.rows, context.rng("objective"))})
    return found


def _compared(found: Results, context: Context) -> Results:
    """The results with the comparisons with simple densities, each absent with its reason where it means nothing."""
    if not context.is_real or not any(key in found.values for key in NAMES):
        return found
    no_mixture = context.divergences.data.no_mixture
    if context.few_rows is None:
        return found if no_mixture is None else replace(found, absent=found.absent | {MIXTURE: no_mixture})
    dropped = {end for key in NAMES for end in (key, f"{key}_se")}
    values = {key: value for key, value in found.values.items() if key not in dropped}
    return Results(values, found.absent | dict.fromkeys(NAMES, context.few_rows), found.notes)


def annealing_results(context: Context) -> Results:
    """Annealed log Z next to an exact one, and the bound from above if the model has exact samples.

    They are computed only if chains are drawn, because these start at annealed points anyway.
    """
    how = context.divergence_result.results.values.get("eval/log_z_method")
    if not context.is_sampling or how not in ("exact", "grid"):
        return Results()
    try:
        forward = context.annealed
        values: dict[str, Value] = {"eval/log_z_ais": forward.log_z, "eval/log_z_ais_se": forward.log_z_se}
        exact = context.energy.sample(context.protocol.n_chains, context.rng("exact"))
        if exact is not None:
            rng = context.rng("annealing_back")
            back = anneal_back(context.energy, context.annealing_base, exact, forward.schedule, rng=rng)
            values |= {"eval/log_z_ais_upper": back.log_z, "eval/log_z_ais_gap": bracket(forward, back).gap}
    except NotIntegrable as reason:
        return Results(absent={"eval/log_z_ais": str(reason)})
    return Results(values)


def _energy_of(density: Density) -> Callable[[Tensor], Tensor]:
    return lambda u: -density.log_prob(u)
