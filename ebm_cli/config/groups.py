"""Groups, options and keys of the config tree, read as text.

The first comment of every YAML under `conf/` describes the file, and the comment behind a key describes the key. Help,
completion and error messages read these comments here, without Hydra and without torch, so that they answer at once.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w.]+):(?P<value>.*)")
_COMMENT = re.compile(r"(?:^|\s)#\s*(?P<text>.*)$")
_GLOBAL = re.compile(r"^#\s*@package\s+_global_\s*$", re.MULTILINE)
_CHOICE = re.compile(r"\$\{(?:oc\.select:)?(\w+)(?:,\w+)?\}")
_FOR_TABLES = re.compile(r"\$\{ebm_table:\$\{dataset\},(\w+),(\w+)\}")
"""`${ebm_table:${dataset},A,B}`: A where the data set is a table, else B."""
TABLES = frozenset(f"ebm_cli.datasets.{name}" for name in ("File", "Shuttle", "Table", "TableSuite"))
"""Classes whose rows are those of a table, which the defaults of energy and noise depend on."""


class Key(NamedTuple):
    """A key that can be set: its dotted name, its default as written, its meaning."""

    name: str
    default: str
    meaning: str


class Group(NamedTuple):
    """An entry of a verb's defaults list: `name` is typed before `=`, `folder` holds the options."""

    name: str
    folder: str
    default: str | None

    @property
    def package(self) -> str:
        """Place of the option's keys in the config: `eval.sampler` for `sampler@eval.sampler`."""
        return self.name.partition("@")[2] or self.folder


@cache
def conf_dir() -> Path:
    """The config tree: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def search_path(config_dir: str | None = None) -> tuple[Path, ...]:
    """Folders of options in Hydra's order: the shipped one, then the user's `--config-dir`."""
    return (conf_dir(),) if config_dir is None else (conf_dir(), Path(config_dir).absolute())


def description(path: Path) -> str:
    """First comment of a file that is no directive for Hydra; empty if the file has none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line[1:].strip()
        if text and not text.startswith("@"):
            return text
    return ""


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """File of `group/option`, or of a verb, in the first folder that has it."""
    return next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)


def group_options(group: str, folders: Sequence[Path]) -> dict[str, str]:
    """Options of a group with their descriptions; options in sub-folders are named `sub/name`."""
    found: dict[str, str] = {}
    for folder in folders:
        base = folder / group
        for path in sorted(base.rglob("*.yaml")):
            found.setdefault(path.relative_to(base).with_suffix("").as_posix(), description(path))
    return dict(sorted(found.items()))


def _plain(path: Path) -> Any:
    """Contents of a YAML file, which the caller does not change."""
    return _parsed(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1000)
def _parsed(text: str) -> Any:
    """YAML by libyaml's parser where PyYAML has it, ten times as fast as Python's; a command reads some files twice."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def is_table(option: str | None, folders: Sequence[Path]) -> bool:
    """True if an option of the group `dataset` has one of the classes `TABLES`, or is made from such an option."""
    path = None if not option else find_file(f"dataset/{option}", folders)
    if path is None:
        return False
    found = _plain(path)
    if not isinstance(found, dict):
        return False
    if "_target_" in found:
        return found["_target_"] in TABLES
    base = [entry for entry in found.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return any(entry != option and is_table(entry, folders) for entry in base)


def for_tables(option: str | None, dataset: str | None, folders: Sequence[Path]) -> str | None:
    """An option with its `${ebm_table:…}` replaced by what holds for this data set."""
    if option is None:
        return None
    return _FOR_TABLES.sub(lambda match: match[1] if is_table(dataset, folders) else match[2], option)


def _defaults(path: Path | None) -> list[tuple[str, str | None]]:
    """The (name, option) pairs of a file's defaults list."""
    if path is None:
        return []
    found = (_plain(path) or {}).get("defaults", [])
    pairs = [next(iter(entry.items())) for entry in found if isinstance(entry, dict)]
    return [(name.removeprefix("optional "), option) for name, option in pairs]


def verb_groups(verb: str, folders: Sequence[Path]) -> list[Group]:
    """Groups in the verb's defaults list, in its order, with the options that hold for no table."""
    return [
        Group(name, name.partition("@")[0], for_tables(option, None, folders))
        for name, option in _defaults(find_file(verb, folders))
        if "hydra" not in name and not _CHOICE.search(for_tables(option, None, folders) or "")
    ]


def pairings(verb: str, folders: Sequence[Path]) -> list[tuple[str, str]]:
    """The (folder, option) entries that follow from other choices: the option is written `${energy}_${method}`.

    An energy that was not chosen has no value when Hydra resolves them; it is written `${oc.select:energy,default}`.
    """
    pairs = _defaults(find_file(verb, folders))
    return [
        (name, option) for name, option in pairs if option is not None and _CHOICE.search(_FOR_TABLES.sub("", option))
    ]


def paired_groups(verb: str, folders: Sequence[Path]) -> set[str]:
    """Groups that a pairing names: the verb composes only if each of them has an option."""
    options = [_FOR_TABLES.sub("", option) for _, option in pairings(verb, folders)]
    return {group for option in options for group in _CHOICE.findall(option)}


def file_keys(path: Path, package: str = "") -> list[Key]:
    """Keys of one file with their comments, under `package` unless the file says `@package _global_`."""
    text = path.read_text(encoding="utf-8")
    parents = [] if not package or _GLOBAL.search(text) else [(-1, package)]
    found: list[Key] = []
    is_hidden = False
    for line in text.splitlines():
        match = _KEY.fullmatch(line)
        if match is None:
            continue
        indent, name = len(match["indent"]), match["name"]
        if indent == 0:
            is_hidden = name in ("defaults", "hydra")
        if is_hidden or name == "_target_":
            continue
        while parents and parents[-1][0] >= indent:
            parents.pop()
        comment = _COMMENT.search(match["value"])
        value = match["value"][: comment.start()] if comment else match["value"]
        if value.strip():
            dotted = ".".join([parent for _, parent in parents] + [name])
            found.append(Key(dotted, value.strip(), comment["text"].strip() if comment else ""))
        else:
            parents.append((indent, name))
    return found


def chosen_groups(verb: str, words: Iterable[str], folders: Sequence[Path]) -> dict[str, Group]:
    """Groups of the verb by name, each with the option that the overrides `words` choose.

    An option may choose for another group, as `override /noise: flow` in `method/fce.yaml`; an override that was typed
    takes precedence.
    """
    typed = dict(word.split("=", 1) for word in words if "=" in word)
    listed = dict(_defaults(find_file(verb, folders)))
    # What was not chosen is kept as it is written, since it may depend on a data set that an option chooses.
    found = {
        group.name: group._replace(default=typed.get(group.name, listed[group.name]))
        for group in verb_groups(verb, folders)
    }
    for group in list(found.values()):
        for name, option in _defaults(find_file(f"{group.folder}/{group.default}", folders)):
            other = name.removeprefix("override /")
            if other in found and other not in typed:
                found[other] = found[other]._replace(default=option)
    dataset = found["dataset"].default if "dataset" in found else None
    return {name: group._replace(default=for_tables(group.default, dataset, folders)) for name, group in found.items()}


def verb_keys(verb: str, words: Iterable[str], folders: Sequence[Path]) -> list[Key]:
    """Every key of the verb under these choices: its own, then those of the chosen options."""
    files = [(find_file(verb, folders), "")]
    chosen = chosen_groups(verb, words, folders)
    files += [(find_file(f"{group.folder}/{group.default}", folders), group.package) for group in chosen.values()]
    for folder, option in pairings(verb, folders):
        dataset = chosen["dataset"].default if "dataset" in chosen else None
        name = _CHOICE.sub(lambda choice: str(chosen[choice[1]].default), str(for_tables(option, dataset, folders)))
        files.append((find_file(f"{folder}/{name}", folders), folder))
    found: dict[str, Key] = {}
    for path, package in files:
        if path is not None:
            found |= {
                key.name: Key(key.name, key.default, key.meaning or found.get(key.name, key).meaning)
                for key in file_keys(path, package)
            }
    return list(found.values())
