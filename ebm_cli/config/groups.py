"""What can be chosen: the config tree, read as text.

Every YAML under `conf/` says what it is in its first comment, and what each key means in the comment behind it. Help,
completion and error messages read them here, without Hydra and without torch, so that they answer at once.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w.]+):(?P<value>.*)")
_COMMENT = re.compile(r"(?:^|\s)#\s*(?P<text>.*)$")
_GLOBAL = re.compile(r"^#\s*@package\s+_global_\s*$", re.MULTILINE)
_CHOICE = re.compile(r"\$\{(\w+)\}")


class Key(NamedTuple):
    """A key that can be set: its dotted name, its default as written, what it means."""

    name: str
    default: str
    meaning: str


class Group(NamedTuple):
    """An entry of a verb's defaults list: `name` is what is typed before `=`, `folder` is where its options lie."""

    name: str
    folder: str
    default: str | None

    @property
    def package(self) -> str:
        """Where the option's keys land in the config: `eval.sampler` for `sampler@eval.sampler`."""
        return self.name.partition("@")[2] or self.folder


@cache
def conf_dir() -> Path:
    """The config tree: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def search_path(config_dir: str | None = None) -> tuple[Path, ...]:
    """Where options are looked for, in Hydra's order: ours, then the user's `--config-dir`."""
    return (conf_dir(),) if config_dir is None else (conf_dir(), Path(config_dir).absolute())


def description(path: Path) -> str:
    """The file's first comment that is not an instruction to Hydra; empty where it has none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line[1:].strip()
        if text and not text.startswith("@"):
            return text
    return ""


def find(name: str, where: Sequence[Path]) -> Path | None:
    """The file of `group/option`, or of a verb, in the first folder that has it."""
    return next((path for folder in where if (path := folder / f"{name}.yaml").is_file()), None)


def options(folder: str, where: Sequence[Path]) -> dict[str, str]:
    """The options of a group with one line of what each is; those in sub-folders as `sub/name`."""
    found: dict[str, str] = {}
    for root in where:
        base = root / folder
        for path in sorted(base.rglob("*.yaml")):
            found.setdefault(path.relative_to(base).with_suffix("").as_posix(), description(path))
    return dict(sorted(found.items()))


def _defaults(path: Path | None) -> list[tuple[str, str | None]]:
    """The (name, option) pairs of a file's defaults list."""
    if path is None:
        return []
    found = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])
    pairs = [next(iter(entry.items())) for entry in found if isinstance(entry, dict)]
    return [(name.removeprefix("optional "), option) for name, option in pairs]


def groups(verb: str, where: Sequence[Path]) -> list[Group]:
    """The groups in the verb's defaults list, in its order."""
    return [
        Group(name, name.partition("@")[0], option)
        for name, option in _defaults(find(verb, where))
        if "hydra" not in name and not _CHOICE.search(option or "")
    ]


def pairings(verb: str, where: Sequence[Path]) -> list[tuple[str, str]]:
    """(folder, option) of the entries that nobody types: their option is made of others, `${energy}_${method}`."""
    pairs = _defaults(find(verb, where))
    return [(name, option) for name, option in pairs if option is not None and _CHOICE.search(option)]


def paired(verb: str, where: Sequence[Path]) -> set[str]:
    """The groups that a pairing names: without an option of each of them a verb cannot be composed."""
    return {group for _, option in pairings(verb, where) for group in _CHOICE.findall(option)}


def keys(path: Path, package: str = "") -> list[Key]:
    """The keys of one file with their comments, under `package` unless the file says `@package _global_`."""
    text = path.read_text(encoding="utf-8")
    parents = [] if not package or _GLOBAL.search(text) else [(-1, package)]
    found: list[Key] = []
    hidden = False
    for line in text.splitlines():
        match = _KEY.fullmatch(line)
        if match is None:
            continue
        indent, name = len(match["indent"]), match["name"]
        if indent == 0:
            hidden = name in ("defaults", "hydra")
        if hidden or name == "_target_":
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


def chosen(verb: str, words: Iterable[str], where: Sequence[Path]) -> dict[str, Group]:
    """Each group of the verb with the option that `words` (what was typed) leave it with.

    An option may choose for another group, as `override /noise: flow` in `method/fce.yaml`; what was typed goes first.
    """
    typed = dict(word.split("=", 1) for word in words if "=" in word)
    found = {group.name: group._replace(default=typed.get(group.name, group.default)) for group in groups(verb, where)}
    for group in list(found.values()):
        for name, option in _defaults(find(f"{group.folder}/{group.default}", where)):
            other = name.removeprefix("override /")
            if other in found and other not in typed:
                found[other] = found[other]._replace(default=option)
    return found


def keys_of(verb: str, words: Iterable[str], where: Sequence[Path]) -> list[Key]:
    """Every key that the verb has with these choices: its own, then those of the options chosen."""
    files = [(find(verb, where), "")]
    picked = chosen(verb, words, where)
    files += [(find(f"{group.folder}/{group.default}", where), group.package) for group in picked.values()]
    for folder, option in pairings(verb, where):
        name = _CHOICE.sub(lambda choice: str(picked[choice[1]].default), option)
        files.append((find(f"{folder}/{name}", where), folder))
    found: dict[str, Key] = {}
    for path, package in files:
        if path is not None:
            found |= {
                key.name: Key(key.name, key.default, key.meaning or found.get(key.name, key).meaning)
                for key in keys(path, package)
            }
    return list(found.values())
