"""Overrides as typed behind a verb: validated one by one, and spelled as Hydra reads them.

A value of a group is compared with the names of its options; `eval.sampler=hmc` becomes `sampler@eval.sampler=hmc`, and
`sampler.kernel=hmc` `sampler@sampler.kernel=hmc`; `ebm sample` is given the sampler that is stored in its run, and
`energy._target_=a.B` becomes `+energy._target_=a.B` where no energy is chosen. `jobs=2` chooses the launcher of
processes, and `replicas=2` that of replicas.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from ebm_cli.cli.flags import parse
from ebm_cli.cli.replica_words import choose_replicas
from ebm_cli.cli.split_words import require_whole
from ebm_cli.cli.stored_sampler import choose_stored_sampler
from ebm_cli.cli.unquoted import quote_overrides
from ebm_cli.config.groups import Group, group_options, paired_groups, search_path, verb_groups, verb_keys
from ebm_cli.errors import UserError

VALIDATE = "hydra.callbacks.validate"
LAUNCHER = "hydra/launcher"
WITH_JOBS = ("processes", "replicas")
"""Launchers that `jobs=` is a key of."""


def prepare(verb: str, argv: Sequence[str]) -> tuple[list[str], tuple[Path, ...]]:
    """Validate what was typed behind a verb.

    Returns:
        words: the same flags and overrides in Hydra's spelling.
        folders: where options are looked up.

    Raises:
        WrongFlag, UserError: the first mistake.
    """
    args = parse(argv)
    folders = search_path(args.config_dir)
    groups = verb_groups(verb, folders)
    known = {key.name for key in verb_keys(verb, (), folders)} | {group.package for group in groups}
    require_whole(args.overrides, known)
    typed = quote_overrides(args.overrides, verb, is_sweep=args.multirun)
    typed, is_replicated = choose_replicas(typed, verb, composes_only=bool(args.cfg or args.info))
    typed = _choose_processes(typed)
    overrides = OverridesParser.create().parse_overrides(typed)
    for override in overrides:
        _validate(override, verb, groups, folders)
    # Flags first: Hydra's own parser refuses overrides on both sides of a flag.
    words = [word for word in argv if word not in args.overrides]
    words += ["--multirun"] if is_replicated and not args.multirun else []
    # Without its value, this flag would take an override for it.
    if args.info == "all" and "all" not in words:
        words = ["--info=all" if word in ("--info", "-i") else word for word in words]
    nested = {group.package: group for group in groups if group.package != group.folder}
    # The sampler inside a sampler: the kernel of tempered chains.
    samplers = [group for group in groups if group.folder == "sampler"]
    nested |= {f"{g.package}.kernel": g._replace(name=f"sampler@{g.package}.kernel") for g in samplers}
    chosen = {override.get_key_element().lstrip("+~") for override in overrides}
    added = {group.name for group in groups if group.default is None and group.name not in chosen}
    words += [_add_class(_spell_out(word, nested), added, typed) for word in _with_moved_file(typed, verb)]
    if any(group.name == "sampler" and group.default is None for group in groups):
        words += choose_stored_sampler(overrides)
    return words, folders


def _choose_processes(words: Sequence[str]) -> list[str]:
    """Spell `jobs=2` as Hydra reads it: a key of the launcher of processes, or of that of replicas if it is chosen.

    Raises:
        UserError: another launcher is chosen, too, or several numbers.
    """
    jobs = [word for word in words if word.startswith("jobs=")]
    other = next((word for word in words if word.startswith(f"{LAUNCHER}=")), None)
    if "hydra/sweeper=optuna" in words and not jobs and other is None:
        jobs = ["jobs=1"]
    if jobs and other not in (None, *(f"{LAUNCHER}={own}" for own in WITH_JOBS)):
        raise UserError(f"{jobs[0]} runs a sweep's jobs in processes of this machine, and {other} elsewhere: type one")
    if len(jobs) > 1 or "," in "".join(jobs):
        raise UserError(f"{' '.join(jobs)}: one number of jobs at a time, such as jobs=2, or jobs=auto (one a core)")
    spelled = [f"hydra.launcher.{word}" for word in jobs]
    chosen = [f"{LAUNCHER}=processes"] if jobs and other is None else []
    return [*(word for word in words if word not in jobs), *chosen, *spelled]


def _validate(override: Override, verb: str, groups: Sequence[Group], folders: Sequence[Path]) -> None:
    name = override.get_key_element().lstrip("+~")
    group = next((group for group in groups if group.name == name), None)
    if group is not None and not override.is_sweep_override() and not _names_options(override):
        known = ", ".join(group_options(group.folder, folders))
        raise UserError(f"{override.input_line}: {name} takes the name of an option ({known})")
    if override.is_delete() and name in paired_groups(verb, folders):
        raise UserError(f"{override.input_line}: {name} cannot be removed; choose another with {name}=OPTION")
    if f"{VALIDATE}.".startswith(f"{name}.") or name.startswith(f"{VALIDATE}."):
        raise UserError(f"{override.input_line}: {VALIDATE} cannot be overridden (it validates the config)")


def _names_options(override: Override) -> bool:
    """Return whether the value may name an option of a group, several options, or keys of the option chosen already."""
    value = override.value()
    if override.is_delete():
        return value is None or isinstance(value, str)
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | dict)


def _add_class(word: str, groups: set[str], typed: Sequence[str]) -> str:
    """Spell a key of a class that was typed for a group without an option as Hydra adds it: `+energy._target_=a.B`."""
    name = word.partition(".")[0]
    is_new = name in groups and any(other.startswith(f"{name}._target_=") for other in typed)
    return f"+{word}" if is_new else word


def _with_moved_file(words: Sequence[str], verb: str) -> list[str]:
    """Spell the new place of a resumed run's file so that Hydra takes it: the default data set has no file."""
    is_resumed = verb == "train" and any(re.match(r"\+*checkpoint=(?!null$)", word) for word in words)
    return [f"++{word}" if is_resumed and word.startswith("dataset.path=") else word for word in words]


def _spell_out(word: str, nested: dict[str, Group]) -> str:
    """Spell `eval.sampler=hmc` as Hydra reads it: `sampler@eval.sampler=hmc`."""
    name, _, value = word.partition("=")
    return f"{nested[name].name}={value}" if name in nested and not value.startswith("{") else word
