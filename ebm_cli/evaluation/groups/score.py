"""The metric group `score`: Fisher divergence and kernel Stein discrepancy, which need no log Z."""

from dataclasses import replace

import torch

from ebm_cli.derivatives import value_and_grad
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.objective import SECOND_ORDER_ROWS
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.stein import ksd


def results(context: Context) -> Results:
    """The Fisher divergence where the score of the data is known, and the kernel Stein discrepancy of held-out rows."""
    found = context.divergence_result.results
    fisher = {key: value for key, value in found.values.items() if is_score(key)}
    rows = context.rows
    if context.few_rows is not None:
        return replace(found, values=fisher, absent=found.absent | {"eval/ksd": context.few_rows})
    score = -torch.cat([value_and_grad(context.energy, part)[1] for part in torch.split(rows, SECOND_ORDER_ROWS)])
    try:
        value, p = ksd(rows, score, context.rng("stein"))
    except ValueError as reason:
        return replace(found, values=fisher, absent=found.absent | {"eval/ksd": str(reason)})
    return replace(found, values={**fisher, "eval/ksd": value, "eval/ksd_p": p})


def is_score(key: str) -> bool:
    """True if a key of the divergences belongs to this group."""
    return key.startswith("eval/fisher")
