"""Keys of launchers and sweepers that are typed as keys of the verb: `n_trials=40` for `hydra.sweeper.n_trials=40`."""

from collections.abc import Sequence
from pathlib import Path

from ebm_cli.cli.plugins import GROUP
from ebm_cli.cli.search_space import EXAMPLE
from ebm_cli.config.groups import file_keys, find_file, group_options
from ebm_cli.quoting import shell_word

GROUPS = ("hydra/sweeper", GROUP)
SHORT = ("", "hydra", "sweeper", "launcher", *(group.replace("/", ".") for group in GROUPS))
"""Words that people type before such a key."""
JOBS = ("n_jobs", "num_jobs", "workers", "n_workers", "max_workers")
"""Names by which other programs call the number of jobs at a time."""


def explain_plugin_key(key: str, typed: Sequence[str], folders: Sequence[Path]) -> str | None:
    """Show how a key of a launcher or a sweeper is typed; None for a key that no option of theirs has.

    Args:
        key: that the config does not have, as it was typed.
        typed: words behind the verb.
        folders: of options.
    """
    parent, _, name = key.rpartition(".")
    if parent not in SHORT:
        return None
    value = next((word.partition("=")[2] for word in typed if word.lstrip("+").startswith(f"{key}=")), "") or "…"
    sweep = [] if {"-m", "--multirun"} & set(typed) else ["-m"]
    if name in JOBS and not parent.startswith("hydra."):
        words = " ".join([*sweep, shell_word(f"jobs={value}")])
        return f"{key}: no such key; the jobs of a sweep that run at a time are {words}, with several values of a key"
    for group in GROUPS:
        if parent not in ("", "hydra") and not group.endswith(parent.rpartition(".")[2]):
            continue
        for option in group_options(group, folders):
            file = find_file(f"{group}/{option}", folders)
            if file is not None and name in [known.name for known in file_keys(file)]:
                chosen = f"{group}={option}"
                place = shell_word(f"{group.replace('/', '.')}.{name}={value}")
                words = " ".join([*sweep, *([] if chosen in typed else [chosen]), place])
                return f"{key}: no such key here; it is one of {chosen}: type {words}{_to_search(group, typed)}"
    return None


def _to_search(group: str, typed: Sequence[str]) -> str:
    """Ask for something to search, where a sweeper is chosen and no key has an interval or several values."""
    values = [word.partition("=")[2] for word in typed]
    is_given = any("," in value and not value.startswith(("[", "{")) for value in values)
    return "" if is_given or group == GROUP else f", and what to search, such as {EXAMPLE}"
