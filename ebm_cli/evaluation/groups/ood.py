"""The metric group `ood`: detection of foreign rows by their energy, for real data or with a foreign data set."""

from ebm_cli.datasets.matching import match_data_sets
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.ood import detection
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value


def results(context: Context) -> Results:
    """AUROC of each kind of foreign rows, by its name, and the smallest of them without one."""
    foreign = context.protocol.foreign
    if not context.is_real and foreign is None:
        return Results()
    if context.few_rows is not None:
        return Results(absent={"eval/ood_auroc": context.few_rows})
    try:
        found = detection(context.energy, context.rows, context.dataset, foreign, context.rng("ood"))
    except ValueError as reason:
        return Results(absent={"eval/ood_auroc": str(reason)})
    values: dict[str, Value] = {}
    for name, area in found.items():
        values |= {f"eval/ood_auroc_{name}": area.value, f"eval/ood_auroc_{name}_se": area.error}
    least = min(found.values())
    left_out = None if foreign is None else match_data_sets(context.dataset, foreign).sentence("eval.ood")
    notes = () if left_out is None else (left_out,)
    return Results({**values, "eval/ood_auroc": least.value, "eval/ood_auroc_se": least.error}, notes=notes)
