"""Answers to a key that the config does not have: the words to type in its place.

It is one of another place or spelling (`config.near_keys`), of an option that is not chosen, of another verb, of a
launcher or sweeper (`plugin_keys`), or it names what a verb takes without a key.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ebm_cli.cli.help import verbs
from ebm_cli.cli.plugin_keys import explain_plugin_key
from ebm_cli.cli.plugins import PACKAGES
from ebm_cli.cli.unquoted import PLACES
from ebm_cli.config.groups import conf_dir, file_keys, find_file, group_options, verb_groups, verb_keys
from ebm_cli.config.near_keys import MOST, near_keys, same_keys, suggestion
from ebm_cli.errors import did_you_mean
from ebm_cli.quoting import shell_word, typed
from ebm_cli.system.home import is_there

PLACE_WORDS = ("runs", "root", "run", "path", "dir", "folder", "checkpoint")
"""Keys, ours and others, by which people name the folder or the run that a verb takes without a key."""
DATA_WORDS = (
    "dataset",
    "data",
    "data.path",
    "file",
    "csv",
    "path",
    "input",
    "filename",
    "dataset.file",
    "dataset.path",
)
"""Keys by which people name the file of their data."""
RUN_DIR = "hydra.run.dir"


def explain_unknown_key(
    key: str, cause: BaseException | None, verb: str, folders: Sequence[Path], typed: Sequence[str]
) -> str:
    """Say what is meant by a key that the config does not have, or list what there is.

    Args:
        key: dotted, as typed.
        cause: error of OmegaConf, whose node lacks the key.
        verb: whose config it is.
        folders: of options.
        typed: words behind the verb.
    """
    value = next((word.partition("=")[2] for word in typed if word.lstrip("+").startswith(f"{key}=")), "")
    return (
        _place(key, value, verb)
        or _data(key, value, verb)
        or _reference(key, verb, folders, typed)
        or _of_no_option(key, cause, verb, folders, typed)
        or _of_plugin(key, cause)
        or _kernel(key)
        or _near(key, cause, verb, folders, typed)
    )


def explain_data_file(group: str, option: str) -> str | None:
    """The words for a file of data that was typed as an option, `dataset=my.csv`; None for what is none."""
    if not Path(option).suffix and "/" not in option and not is_there(option):
        return None
    return f"{group}={option}: no such option; write {_data_words(group, option)}"


def _data_words(group: str, path: str) -> str:
    return f"{group}=file {typed(f'{group}.path', path)}"


def _near(key: str, cause: BaseException | None, verb: str, folders: Sequence[Path], words: Sequence[str]) -> str:
    """Name the keys that may be meant, or those beside it."""
    parent, _, name = key.rpartition(".")
    beside = _siblings(cause) if parent and getattr(cause, "full_key", None) == key else []
    line = f"{key}: no such key{f' in {parent}' if beside else ''}"
    known, elsewhere = _known(verb, folders, words), _keys_of_other_options(verb, folders)
    meant = (
        _of_other_option(key, elsewhere)
        or suggestion(same_keys(name, beside) or same_keys(key, [k for k in known if k != key]))
        or suggestion(near_keys(name, beside))
        or _of_other_option(next(iter(same_keys(key, elsewhere)), ""), elsewhere, is_named=True)
        or _of_other_verb(key, verb, folders)
    )
    if meant:
        return f"{line}{meant}"
    if plugin := explain_plugin_key(key, words, folders):
        return plugin
    listed = f"; there are {', '.join(beside)}" if beside else ""
    return f"{line}{listed or suggestion(near_keys(key, known)) or f'; see ebm {verb} --help'}"


def _of_other_option(key: str, elsewhere: Mapping[str, Sequence[str]], *, is_named: bool = False) -> str:
    """Name the options that have a key; if many have it, the key alone."""
    options = elsewhere.get(key, ())
    if len(options) > MOST and is_named:
        return suggestion([key])
    return (
        f"; {_listed(options)} {'have' if len(options) > 1 else 'has'} {key if is_named else 'it'}" if options else ""
    )


def _of_other_verb(key: str, verb: str, folders: Sequence[Path]) -> str:
    """Name the verbs that have a key or a group of this name."""
    names = {
        other: {
            *(k.name for k in file_keys(conf_dir() / f"{other}.yaml")),
            *(g.name for g in verb_groups(other, folders)),
        }
        for other in verbs()
    }
    others = [f"ebm {other}" for other, own in names.items() if key in own]
    return f" of ebm {verb}; it is one of {_listed(others)}" if others else ""


def _known(verb: str, folders: Sequence[Path], words: Sequence[str]) -> list[str]:
    """Keys and groups of a verb with the chosen options, and the words that are typed like keys."""
    # A reference to a group, `method.sampler: ${sampler}`, is no key of its own.
    keys = [key.name for key in verb_keys(verb, words, folders) if not re.fullmatch(r"\$\{\w+\}", key.default)]
    own = ["replicas", "jobs", "n_trials"] if verb == "train" else []
    return [*keys, *(group.package for group in verb_groups(verb, folders)), *own, *([RUN_DIR] * (verb != "runs"))]


def _keys_of_other_options(verb: str, folders: Sequence[Path]) -> Mapping[str, list[str]]:
    """Key → the options of the verb's groups that have it, as typed: `optimizer.momentum` → `optimizer=sgd`."""
    found: dict[str, list[str]] = {}
    for group in verb_groups(verb, folders):
        for option in group_options(group.folder, folders):
            file = find_file(f"{group.folder}/{option}", folders)
            keys = [] if file is None else [key.name for key in file_keys(file, group.package)]
            for key in keys:
                if key.startswith(f"{group.package}."):
                    found.setdefault(key, []).append(f"{group.package}={option}")
    return found


def _listed(names: Sequence[str]) -> str:
    """`a, b and c`; of many names the first."""
    *others, last = names if len(names) <= MOST + 1 else (*names[:MOST], f"{len(names) - MOST} more")
    return f"{', '.join(others)} and {last}" if others else last


def _place(key: str, value: str, verb: str) -> str | None:
    """Show how a run or a folder is named, for the key of another verb, or one that is none; None for other words."""
    if verb not in PLACES or key not in PLACE_WORDS or not value:
        return None
    return f"{key}: no such key; write ebm {verb} {shell_word(value)}"


def _data(key: str, value: str, verb: str) -> str | None:
    """Show how a file of data is named; None for other words."""
    if verb != "train" or key not in DATA_WORDS or not value or explain_data_file("dataset", value) is None:
        return None
    return f"{key}: no such key; write {_data_words('dataset', value)}"


def _reference(key: str, verb: str, folders: Sequence[Path], typed: Sequence[str]) -> str | None:
    """Name the key that is meant where the typed one is inside of `method.sampler: ${sampler}`; None for any other."""
    parent, _, name = key.rpartition(".")
    written = next((k.default for k in verb_keys(verb, typed, folders) if k.name == parent), "")
    group = re.fullmatch(r"\$\{(\w+)\}", written)
    return f"{key}: {parent} is the group {group[1]}; set {group[1]}.{name}" if group else None


def _of_no_option(
    key: str, cause: BaseException | None, verb: str, folders: Sequence[Path], typed: Sequence[str]
) -> str | None:
    """Ask for an option of the group that a key belongs to, where none is chosen; None for any other key."""
    groups = [group for group in verb_groups(verb, folders) if group.default is None]
    group = next((group for group in groups if key.startswith(f"{group.package}.")), None)
    # What is missing is the whole group, and not a key of its option.
    if group is None or getattr(cause, "full_key", None) != group.package:
        return None
    if verb == "train" and any(re.match(r"\+*checkpoint=(?!null$)", word) for word in typed):
        return f"{key}: cannot change when a run is continued; start a new run to change it"
    known = ", ".join(group_options(group.folder, folders))
    return f"{key}: no {group.package} is chosen; add {group.package}=NAME ({known})"


def _of_plugin(key: str, cause: BaseException | None) -> str | None:
    """Name the keys of the chosen launcher or sweeper, or the others that can be chosen; None for another key."""
    parent, _, name = key.rpartition(".")
    if parent not in ("hydra.launcher", "hydra.sweeper"):
        return None
    group = parent.replace(".", "/")
    others = f"; {group}=NAME chooses another ({', '.join(PACKAGES[group])})"
    return f"{key}: no such key of the chosen {group[6:]}{did_you_mean(name, _siblings(cause)) or others}"


def _kernel(key: str) -> str | None:
    """Name the sampler that has another one inside; None for another key."""
    parent, _, name = key.rpartition(".")
    if not key.startswith("sampler@") or name != "kernel":
        return None
    group = parent.removeprefix("sampler@")
    return f"{group}.kernel: only tempering moves its replicas by another sampler; add {group}=tempering"


def _siblings(cause: BaseException | None) -> list[str]:
    """Keys of the node in which OmegaConf did not find a key."""
    parent = getattr(cause, "parent_node", None)
    keys = map(str, parent) if isinstance(parent, DictConfig) else ()
    return sorted(key for key in keys if key not in ("hydra", "_target_"))
