"""Flags behind a verb. They are Hydra's, declared here a second time, since Hydra's own parser is private.

`tests/cli/test_hydra_internals.py` holds that this table equals Hydra's.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ebm_cli.errors import did_you_mean
from ebm_cli.quoting import shell_word

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

ARGUMENTS: Mapping[tuple[str, ...], Mapping[str, Any]] = {
    ("--help", "-h"): {"action": "store_true"},
    ("--hydra-help",): {"action": "store_true"},
    ("--version",): {"action": "store_true"},
    ("--cfg", "-c"): {"choices": ["job", "hydra", "all"]},
    ("--resolve",): {"action": "store_true"},
    ("--package", "-p"): {},
    ("--run", "-r"): {"action": "store_true"},
    ("--multirun", "-m"): {"action": "store_true"},
    ("--shell-completion", "-sc"): {"action": "store_true"},
    ("--config-path", "-cp"): {},
    ("--config-name", "-cn"): {},
    ("--config-dir", "-cd"): {},
    ("--experimental-rerun",): {},
    ("--info", "-i"): {"const": "all", "nargs": "?", "choices": INFO},
}
"""Names of a flag → arguments of `argparse.ArgumentParser.add_argument`."""

FLAGS = tuple(name for names in ARGUMENTS for name in names)


class WrongFlag(Exception):
    """A flag that does not exist, or that lacks its value."""

    exit_code = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongFlag(message)


def _meant(word: str, argv: Sequence[str]) -> str:
    """The flag that a wrong one is near to, or the key that is typed like a flag of other programs."""
    flag, _, value = word.partition("=")
    if len(flag) < 4:
        return ""
    following = next(iter(argv[list(argv).index(word) + 1 :]), "")
    value = value or (following if following and "=" not in following and following[0] != "-" else "VALUE")
    key = flag.lstrip("-").replace("-", "_")
    near = did_you_mean(flag.lstrip("-"), [name[2:] for name in FLAGS if name.startswith("--")])
    return near.replace("mean ", "mean --") or f"; a key is typed without dashes: {shell_word(f'{key}={value}')}"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse what was typed behind a verb: flags by name, and the list `overrides`.

    Raises:
        WrongFlag: a flag does not exist, lacks its value, or has a wrong one.
    """
    for word in argv:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in FLAGS:
            raise WrongFlag(f"no flag {flag!r}{_meant(word, argv)}")
    parser = _Parser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    for names, given in ARGUMENTS.items():
        parser.add_argument(*names, **given)
    args = parser.parse_intermixed_args(list(argv))
    if args.resolve and not args.cfg:
        raise WrongFlag("--resolve needs --cfg job: it resolves interpolations in the config that is printed")
    modes = [name for name in ("run", "multirun", "cfg", "info") if getattr(args, name)]
    if len(modes) > 1:
        raise WrongFlag(f"--{modes[0]} and --{modes[1]} do not go together; type one of them")
    return args
