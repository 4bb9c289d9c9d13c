"""The likely cause of a fair or poor result without a symptom: the limit of the method, and the way past it.

Every method learns some part of a density badly, also in a run whose log shows nothing remarkable.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ebm_cli.evaluation.result_description import P
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import CLOSE

LIMITS = {
    "CD": "cd corrects the energy only where its chains of {k} steps come: raise method.k, or choose "
    "method=nce, whose noise lies everywhere",
    "NCE": "nce learns little where its noise and the rows hardly meet: choose method=cd, whose negative samples are "
    "the model's own, or a larger batch_size",
    "Bridges": "bridges learn little where two waymarks hardly meet: raise method.n_bridges, or set method.least to "
    "the scale of the finest structure",
    "FCE": "fce learns what its flow does not: where the flow is good, little is left to learn from; choose method=nce "
    "or method=cd",
    "SM": "a score is local, and where there are few rows it is hardly learned: choose method=nce or method=cd",
    "ED": "ed learns little where its perturbations do not reach from one mode to the next, or leave the data: try "
    "another method.t (now {t}), or choose method=nce",
    "CNCE": "cnce learns little where its copies do not reach from one mode to the next, or leave the data: try "
    "another method.eps (now {eps}) or method.eps_least, or choose method=nce",
    "DSM": "dsm learns the density blurred with method.sigma={sigma}: lower it, or choose method=sm",
    "MLE": "mle needs more steps the finer the data: train longer (steps), or with a wider network (energy.width)",
}
LIMITS["SSM"] = LIMITS["SM"]
"""Class of a method → what it learns badly, and what to try; `{key}` is a key of the method."""
OTHERS = "train longer (steps), with a wider network (energy.width), or with another method"
"""The advice on a method that is not ours."""


def limit(results: Values, method: str, get: Callable[[str], Any]) -> Iterator[str]:
    """The likely cause of results without a symptom.

    Args:
        results: of results.json, with a word of `evaluation.overall` below close.
        method: name of its class.
        get: value of a dotted key of the config.
    """
    kl, error = number(results, "eval/kl"), number(results, "eval/kl_se")
    is_broken = results.get("eval/overall") == "broken"
    if verdict("eval/kl", results).word == "impossible":
        yield "KL cannot be negative: the estimate of log Z is at fault; raise eval.n_temperatures or eval.n_samples."
    elif not is_broken and kl is None and not any(key.endswith(P) for key in results):
        yield "The word is no better because samples were not compared with the rows: metrics=[density,samples]."
    elif kl is not None and error is not None and abs(kl) <= 2 * error and 2 * error > CLOSE:
        yield (f"The cause of the word is the error of KL, {error:.2g} nats, and not the model: raise eval.n_samples.")
    elif not is_broken:
        keys = {key: get(f"method.{key}") for key in ("k", "sigma", "t", "eps")}
        yield f"Nothing in the log shows a cause. The likely one: {LIMITS.get(method, OTHERS).format(**keys)}."
    elif number(results, "eval/log_z") is None:
        yield (
            "The energy seems to fall far from the data, so that exp(-f) has no integral: raise energy.base, or choose "
            "energy=tilted, which is bounded below."
        )
