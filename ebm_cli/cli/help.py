"""Help pages, made of the descriptions and comments in the config tree."""

import re
import sys
import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size

from ebm_cli.config.groups import (
    chosen_groups,
    conf_dir,
    description,
    group_options,
    search_path,
    verb_keys,
)

FLAGS = (
    ("-m", "sweep: key=a,b runs once for each value; jobs=N runs N jobs at a time, jobs=auto one a core"),
    ("--cfg job", "print the composed config and stop"),
    ("--info", "print how it was composed and stop"),
    ("--config-dir DIR", "add a folder of your own groups and options"),
    ("--hydra-help", "Hydra's own flags"),
)
"""Flags that the page of a verb describes."""
WORDS_OF_TRAIN = (
    (
        "replicas=R",
        "train R seeds, seed, seed + 1, …, as one network, in a directory each; jobs=N evaluates N at a time",
    ),
)
"""Words that the page of `ebm train` describes, and that are no keys of a run."""


def verbs() -> dict[str, str]:
    """The verbs with their descriptions: every YAML at the top of the config tree is one."""
    return {path.stem: description(path) for path in sorted(conf_dir().glob("*.yaml"))}


def verbs_page() -> str:
    """The page of `ebm --help`."""
    return "\n".join(
        [
            "ebm: train energy-based models, and evaluate them",
            "",
            *_columns([(f"ebm {verb}", text) for verb, text in verbs().items()]),
            "",
            "ebm VERB --help lists a verb's groups, options and keys.  ebm --version",
            'eval "$(ebm -sc install=bash)" completes verbs, groups, options and keys in this shell.',
        ]
    )


def verb_page(verb: str, words: Sequence[str] = ()) -> str:
    """The page of `ebm VERB --help`: the verb's groups with their options, and its keys.

    Args:
        verb: name of the verb.
        words: choices that were typed beside it (`method=cd`, `--config-dir DIR`).
    """
    folders = search_path(config_dir(words))
    lines = [f"ebm {verb}: {verbs()[verb]}", "", f"usage: ebm {verb} [GROUP=OPTION ...] [KEY=VALUE ...] [FLAG ...]", ""]
    for group in chosen_groups(verb, words, folders).values():
        lines.append(f"{group.name}={group.default or ''}")
        rows = group_options(group.folder, folders).items()
        lines += _columns([(f"{'*' if name == group.default else ' '} {name}", text) for name, text in rows])
        lines.append("")
    keys = verb_keys(verb, words, folders)
    rows_of_keys = [(f"{key.name}={'' if key.default == '???' else key.default}", key.meaning) for key in keys]
    lines += [
        "keys",
        *_columns(rows_of_keys),
        "",
        "flags",
        *_columns([*FLAGS, *(WORDS_OF_TRAIN if verb == "train" else ())]),
    ]
    return "\n".join(lines)


def config_dir(words: Sequence[str]) -> str | None:
    """The folder behind `--config-dir`, written `--config-dir DIR` or `--config-dir=DIR`."""
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            return value or next(iter(words[i + 1 :]), None)
    return None


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns, the second one aligned; an entry of the first that is too wide shifts only its own line."""
    width = min(max((len(left) for left, _ in rows), default=0), 30)
    return [f"  {left:<{width}}  {right}".rstrip() for left, right in rows]


def show(page: str) -> None:
    """Print a page, on a terminal with its lines wrapped between words."""
    print(wrap_page(page, get_terminal_size().columns) if sys.stdout.isatty() else page)


def wrap_page(page: str, width: int) -> str:
    """A page with no line longer than `width` characters, except those of one longer word."""
    return "\n".join(line for long in page.split("\n") for line in _wrap_line(long, width))


def _wrap_line(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip())
    line = line[:indent] + re.sub(" {2,}", "  ", line[indent:])
    after = " " * min(indent + 4, max(width - 12, 0))
    return textwrap.wrap(line, width, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)
