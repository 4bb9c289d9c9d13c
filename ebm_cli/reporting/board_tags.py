"""Names and settings of a run on TensorBoard's pages, which sort both by name: what is read first comes first.

A tag is the key of metrics.jsonl, but for these:

    eval/NAME   evaluation/NAME, unless it is a main result (KL, NLL, what `monitor` names), which stays alone in eval/
    val/NAME    eval_validation/NAME
    cost/NAME   train_cost/NAME

so that the groups are eval, eval_validation, evaluation, sampler, train, train_cost, and HPARAMS shows the main result
as its first metric.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ebm_cli.config.flat import flatten
from ebm_cli.evaluation.result_registry import HEADLINES
from ebm_cli.evaluation.values import Values

MOVED = {"eval": "evaluation", "val": "eval_validation", "cost": "train_cost"}
"""Group of a result → that of its tag."""
ALWAYS = ("method", "dataset", "energy", "seed")
"""Settings by which runs are told apart, shown for every run."""
SILENT = frozenset(
    {
        "checkpoint",
        "resume",
        "trust",
        "log_every",
        "eval_every",
        "checkpoint_every",
        "keep",
        "metrics",
        "claims",
        "hydra",
    }
)
"""Keys, and the groups of keys, that change neither the training nor its result."""


def tag_of(key: str, monitored: Collection[str] = ()) -> str:
    """The tag of a result.

    Args:
        key: in metrics.jsonl.
        monitored: main results of the run beside `HEADLINES`.
    """
    group, slash, name = key.partition("/")
    is_main = key in HEADLINES or (group == "eval" and key in monitored)
    return key if is_main or not slash else f"{MOVED.get(group, group)}/{name}"


def settings_shown(config: Mapping[str, Any], choices: Mapping[str, str], typed: Sequence[str]) -> Values:
    """The settings of a run for the HPARAMS page: method, data set, energy, seed, and what was typed or swept.

    Args:
        config: resolved.
        choices: group → option.
        typed: overrides of the run, `key=value`, with those of its place in a sweep.
    """
    known = {**choices, **{key: _plain(value) for key, value in flatten(config)}}
    keys = [word.partition("=")[0].lstrip("+~") for word in typed]
    shown = [*ALWAYS, *(key for key in keys if key.partition(".")[0].partition("/")[0] not in SILENT)]
    return {key: known[key] for key in shown if key in known}


def _plain(value: Any) -> Any:
    """A value as the board takes it: a list, or an empty mapping, is a text."""
    return str(value) if isinstance(value, list | tuple | Mapping) else value
