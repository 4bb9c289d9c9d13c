"""Registry of results: the description of every key, its verdict, and the keys that tables show.

Verdicts, units, the columns of `ebm compare`, the main result of `ebm runs` and docs/reference/results.md all come from
`RESULTS`. A key that is not registered, such as one of a user's own metric, has its name as label and no verdict.
"""

import re
from dataclasses import replace

from ebm_cli.evaluation.result_description import DENSITY, NULL, SCORE, SUFFIXES, P, Result
from ebm_cli.evaluation.result_list import RESULTS
from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import Verdict

QUALITIES, COSTS = (tuple(r for r in RESULTS if r.column == kind) for kind in ("quality", "cost"))
"""The results that a comparison shows by default, in the order of their columns."""
HEADLINES = tuple(result.key for result in QUALITIES if result.headline)
"""Keys, of which the first that a run has is its main result."""
MONITORED = tuple(result.name for result in QUALITIES if result.monitored)
"""Names, without `eval/` or `val/`, of what `monitor=auto` may choose."""

_BY_KEY = {result.key: result for result in RESULTS}
_PATTERNS = [
    (re.compile(re.escape(result.key).replace("NAME", r"(?P<name>\w+)")), result)
    for result in RESULTS
    if "NAME" in result.key
]
_POLISH = "train/polish_"
"""Beginning of the keys of the objective that a second phase adds (`methods.polish`)."""
_VALIDATED = (DENSITY, SCORE)
"""Sections of the results that are also computed on validation rows, as `val/NAME`."""


def registered(key: str) -> Result | None:
    """The description of a key: a result, a companion, the same on validation rows or in a second phase; else None."""
    if key in _BY_KEY:
        return _BY_KEY[key]
    if key.startswith(_POLISH):
        found = registered(f"train/{key.removeprefix(_POLISH)}")
        return None if found is None else _in_second_phase(key, found)
    if key.startswith("val/"):
        found = registered(f"eval/{key.removeprefix('val/')}")
        return _on_validation_rows(key, found) if found is not None and found.section in _VALIDATED else None
    for suffix in SUFFIXES:
        base = _BY_KEY.get(key.removesuffix(suffix))
        if base is not None and suffix in base.companions:
            return _companion(base, suffix)
    for pattern, result in _PATTERNS:
        match = pattern.fullmatch(key)
        if match is not None:
            label, meaning = (text.replace("NAME", match["name"]) for text in (result.label, result.meaning))
            return replace(result, key=key, label=label, meaning=meaning)
    return None


def describe(key: str) -> Result:
    """The description of a key; one that is not registered is better lower under `eval/` and `cost/`, else unranked."""
    ranked = key.startswith(("eval/", "cost/")) and not key.endswith(tuple(SUFFIXES))
    name = key.partition("/")[2] or key
    return registered(key) or Result("", key, name, "", "low" if ranked else "none", "", signed=True)


def verdict(key: str, values: Values) -> Verdict:
    """The verdict on one of the results, in view of the others; an empty one where there is no rule or no number."""
    rule, value = describe(key).verdict, number(values, key)
    return Verdict() if rule is None or value is None else rule.verdict(key, value, values)


def companions(values: Values) -> set[str]:
    """Keys that are shown in the reference of another result, and need no row of their own in a table."""
    beside = {key for key in values for suffix in SUFFIXES if key.removesuffix(suffix) in values.keys() - {key}}
    return beside | {key for key in values if describe(key).shown_with}


def _companion(base: Result, suffix: str) -> Result:
    meaning = base.null if suffix == NULL and base.null else SUFFIXES[suffix]
    unit = "" if suffix == P else base.unit
    label = f"{base.label} {suffix[1:]}"
    return Result(base.section, f"{base.key}{suffix}", label, unit, "none", meaning)


def _in_second_phase(key: str, result: Result) -> Result:
    meaning = f"{result.meaning}; of the objective that a second phase adds"
    return replace(result, key=key, label=f"{result.label}, second phase", meaning=meaning)


def _on_validation_rows(key: str, result: Result) -> Result:
    label, meaning = f"validation {result.label}", f"{result.meaning}; on validation rows"
    return replace(result, key=key, label=label, meaning=meaning, verdict=None, column="", shown_with="")
