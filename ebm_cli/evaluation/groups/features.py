"""The metric group `features`, for real data: features of the samples in a classifier, and copies of training rows."""

import torch

from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.features import class_results
from ebm_cli.evaluation.groups.samples import DIVERGED
from ebm_cli.evaluation.memorisation import copying
from ebm_cli.evaluation.results import Results
from ebm_cli.rng import generator


def results(context: Context) -> Results:
    """Class and memorisation results of the last positions of the chains; none where the density is known."""
    if not context.is_real:
        return Results()
    found, model = Results(notes=context.drawn.results.notes), context.drawn.independent
    if not bool(torch.isfinite(model).all()):
        return found | Results(absent=dict.fromkeys(("eval/feature_distance", "eval/nn_ratio"), DIVERGED))
    # The classifier is small, and trained on the CPU: the same on every device.
    rng = generator(context.protocol.seed, "evaluation/features", torch.device("cpu"))
    try:
        found |= class_results(model, context.dataset, context.protocol.n_samples, rng)
    except ValueError as reason:
        found |= Results(absent={"eval/feature_distance": str(reason)})
    try:
        ratio = copying(model, context.rows, context.dataset, context.rng("copying"))
    except ValueError as reason:
        return found | Results(absent={"eval/nn_ratio": str(reason)})
    return found | Results({"eval/nn_ratio": ratio.value, "eval/nn_ratio_se": ratio.error})
