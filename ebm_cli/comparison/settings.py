"""Settings of runs: the options and config keys in which runs differ."""

import json
from collections.abc import Sequence
from typing import Any

from ebm_cli.config.flat import flatten
from ebm_cli.runs.record import Record

BY_CHANCE = frozenset(
    {"seed", "dataset.seed", "checkpoint", "resume", "trust", "monitor", "metrics", "keep", "strict"}
    | {"log_every", "eval_every", "checkpoint_every", "pairing", "table", "experiment"}
)
"""Settings in which the runs of a group may differ: seeds, keys that change neither training nor its evaluation, and
options of defaults alone, whose values are settings themselves."""
OF_THE_MACHINE = frozenset({"threads", "device", "compile", "deterministic", "parallel.ranks", "max_seconds"})
"""Keys that change rounding and time, or end a run early: they make no group, but a warning names mixed runs."""
USUAL = ("method", "dataset")
"""Groups of the config that runs are grouped by, whatever else they differ in."""
MOST_KEYS = 4
"""Other keys that runs are grouped by without being asked; a table has no room for more."""
MISSING = "–"
"""Text in place of a missing value."""


def format_setting(value: Any) -> str:
    """A config value as on the command line; a dash for none."""
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value)


def settings_of(record: Record) -> dict[str, str]:
    """The options that were chosen for a run, then every key of its config."""
    options = {group: format_setting(option) for group, option in record.options.items()}
    return options | {key: format_setting(value) for key, value in flatten(record.config) if key not in options}


def differing_settings(records: Sequence[Record]) -> dict[str, list[str]]:
    """Key → its values, for the settings in which runs differ; where options differ, without the keys inside them."""
    all_settings = [settings_of(record) for record in records]
    keys = dict.fromkeys(key for found in all_settings for key in found)
    values = {key: in_order({found.get(key, MISSING) for found in all_settings}) for key in keys}
    options = {key for record in records for key in record.options if len(values[key]) > 1}
    inside = {key: any(f".{option}." in f".{key}." and option != key for option in options) for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1 and not inside[key]}


def keys_that_group(records: Sequence[Record]) -> list[str]:
    """Method, data set, and the settings in which runs of one method and data set differ, as `by=auto` has them.

    At most `MOST_KEYS` of these settings; groups that are mixed even so are named in a warning.
    """
    keys = list(USUAL)
    while True:
        groups: dict[tuple[str, ...], list[Record]] = {}
        for record in records:
            groups.setdefault(tuple(format_setting(record.get(key)) for key in keys), []).append(record)
        differing = [key for group in groups.values() for key in differing_settings(group)]
        own = [key for key in dict.fromkeys(differing) if key not in BY_CHANCE | OF_THE_MACHINE and key not in keys]
        room = len(USUAL) + MOST_KEYS - len(keys)
        if not own or not room:
            return keys
        # Of runs whose energies differ, the keys of one energy show only when they are grouped by energy.
        keys += own[:room]


def in_order(values: set[str]) -> list[str]:
    """Values sorted, shorter ones first, so that 64 comes before 128."""
    return sorted(values, key=lambda value: (len(value), value))
