"""Names of a run's choices: of the option, or of the class that an override has put in its place.

`method._target_=my_package.methods.ImportanceML` leaves `nce` as the choice that Hydra records, and the run is none of
NCE. Only text files are read, as for a record: neither torch nor Hydra is imported.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ebm_cli.config.groups import conf_dir
from ebm_cli.runs.stored_config import read_plain

_OWN = "ebm_cli."


def labels(runtime: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """Group → name of its option, or the class that the config names in place of the class of the option's YAML.

    A data set of a density is called by the class of the density, where that was replaced. An option whose YAML is not
    there any more keeps its name, and so does one whose class has moved inside this package. A group without an option
    has the class that was typed for it, if one was.

    Args:
        runtime: Hydra's node `hydra.runtime`, plain: `choices`, and `config_sources`, where options are looked for.
        config: of the run, plain.

    Raises:
        LookupError, TypeError, AttributeError: `runtime` is damaged.
    """
    folders = (str(conf_dir()), *_own_folders(runtime.get("config_sources")))
    found: dict[str, str] = {}
    for group, option in runtime["choices"].items():
        node = _node(str(group), config)
        label = (
            _own_class(node) if option is None else _replaced_by(str(group), str(option), node, folders) or str(option)
        )
        found |= {} if label is None else {str(group): label}
    return found


def class_path(label: str, node: Any) -> str:
    """The whole name of the class that a label stands for; the label itself where it is that of an option.

    Args:
        label: of a group, as `labels` has it.
        node: of the group in the config.
    """
    node = node if isinstance(node, Mapping) else {}
    targets = (_target(node.get("density")), _target(node))
    return next((target for target in targets if target and target.rpartition(".")[2] == label), label)


def told_apart(paths: Sequence[str]) -> list[str]:
    """The last word of each dotted name, with as many words before it as tell it from the others: b.Ring and c.Ring."""
    return [_end(path, {other for other in paths if other != path}) for path in paths]


def _end(path: str, others: Iterable[str]) -> str:
    words = path.split(".")
    ends = (".".join(words[-n:]) for n in range(1, len(words)))
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), path)


def _own_folders(sources: Any) -> list[str]:
    """Folders of options beside the shipped one, which may have moved, or be another version's, since a run."""
    listed = [source for source in sources if isinstance(source, Mapping)] if isinstance(sources, list) else []
    return [str(s.get("path")) for s in listed if s.get("schema") == "file" and s.get("provider") != "main"]


def _node(group: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that an option of a group makes; empty if there is none."""
    folder, _, place = group.partition("@")
    node: Any = config
    for key in (place or folder).split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _own_class(node: Mapping[str, Any]) -> str | None:
    """Name of the class that was typed for a group without an option, or of its density; None if none was."""
    target = _target(node.get("density")) or _target(node)
    return None if target is None else target.rpartition(".")[2]


def _replaced_by(group: str, option: str, node: Mapping[str, Any], folders: Sequence[str]) -> str | None:
    """Name of the class that has replaced that of an option; None if none has."""
    folder = group.partition("@")[0]
    file = _option(folder, option, folders)
    written = file if "_target_" in file else file.get(folder)  # the second in a file `@package _global_`
    if not isinstance(written, Mapping):
        return None
    for found, usual in ((node.get("density"), written.get("density")), (node, written)):
        target, replaced = _target(found), _target(usual)
        if target and replaced and not _is_same(target, replaced):
            return target.rpartition(".")[2]
    return None


def _target(node: Any) -> str | None:
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return target if isinstance(target, str) and "${" not in target else None


def _is_same(target: str, other: str) -> bool:
    names = {target.rpartition(".")[2], other.rpartition(".")[2]}
    return target == other or (len(names) == 1 and target.startswith(_OWN) and other.startswith(_OWN))


def _option(folder: str, option: str, folders: Sequence[str]) -> Mapping[str, Any]:
    """An option as its YAML has it, from the first folder that does, as for Hydra; empty if it cannot be read."""
    for root in folders:
        try:
            file = Path(root, folder, f"{option}.yaml")
            if file.is_file():
                return _read(file, file.stat().st_mtime_ns)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return {}
    return {}


@lru_cache(maxsize=256)
def _read(file: Path, changed: int) -> Mapping[str, Any]:
    """A YAML file as it was when last changed; many runs have the same options."""
    found = read_plain(file.read_text(encoding="utf-8"))
    return found if isinstance(found, Mapping) else {}
