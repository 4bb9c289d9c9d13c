"""Words as people type them: a path without the quotes that Hydra's grammar wants, a folder without its key.

`checkpoint=r/lr=0.1` and `dataset.path=größe.npy` cannot be read by Hydra, and can only mean one thing, so they are
quoted here. A word that could mean two things is left as it is, and refused with its quoted form by `error_messages`.
"""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from ebm_cli.errors import UserError
from ebm_cli.quoting import Typed, override, shell_word
from ebm_cli.system.home import expanded, is_there

PLACES = {
    "runs": ("root",),
    "compare": ("runs",),
    "sample": ("checkpoint",),
    "evaluate": ("checkpoint",),
    "density": ("checkpoint", "data"),
    "check": ("only",),
}
"""Verb → the keys whose values may be typed alone: `ebm runs DIR`, `ebm density RUN FILE`."""
OF_ONE = ("evaluate",)
"""Verbs of `PLACES` whose key is one value, and never a list."""

_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w./@-]*")
_ITEM = re.compile(r"""(?:'[^']*'|"[^"]*"|\([^()]*\)|[^,])+""")
_STRUCTURE = frozenset("'\"[](){},")
"""Characters by which Hydra's grammar builds more than a text: quotes, lists, mappings, functions, sweeps."""


def quote_overrides(words: Sequence[str], verb: str, is_sweep: bool) -> list[str]:
    """The overrides with what was typed without quotes in quotes, and with their keys.

    Args:
        words: typed behind a verb, without flags.
        verb: the verb.
        is_sweep: whether -m was typed: `a,b` are two values then, and never one path.

    Raises:
        UserError: a value without a key, and the key too.
    """
    keyed = _with_keys(list(words), verb)
    return [_quote(word, is_sweep) for word in keyed]


def quoted_list(key: str, value: str) -> str | None:
    """The override of a list with those of its texts in quotes that Hydra cannot read: `columns=['T (°C)',p]`.

    A comma in quotes or parentheses divides nothing. None for another value, or if it cannot be read even so.
    """
    if not (value.startswith("[") and value.endswith("]")):
        return None
    items = [item.strip() for item in _ITEM.findall(value[1:-1])]
    written = (item if _parse(f"{key}={item}") else override("", item)[1:] for item in items)
    word = f"{key}=[{','.join(written)}]"
    return word if _parse(word) else None


def _with_keys(words: list[str], verb: str) -> list[str]:
    """`DIR` as `root=DIR`, several as a list."""
    bare = [word for word in words if _has_no_key(word)]
    keys = PLACES.get(verb, ())
    if not bare or not keys:
        return words
    if verb in OF_ONE and len(bare) > 1:
        several = shell_word(f"{keys[0]}={','.join(bare)}")
        raise UserError(f"{bare[1]}: ebm {verb} takes one {keys[0]}; with -m, {several} takes one after the other")
    # Several values of one key are a list.
    values: list[Typed] = [str(expanded(word)) for word in bare]
    given = {keys[0]: values} if len(keys) == 1 and len(values) > 1 else dict(zip(keys, values, strict=False))
    for key, word in zip(given, bare, strict=False):
        twice = next((other for other in words if other.startswith(f"{key}=")), None)
        if twice is not None:
            raise UserError(f"{word}: a word without a key is {key}=…, and {twice} was typed, too")
    if len(keys) > 1 and len(bare) > len(keys):
        raise UserError(f"{bare[len(keys)]}: a word without a key; ebm {verb} takes {' and '.join(keys)} so")
    return [*(override(key, value) for key, value in given.items()), *(word for word in words if word not in bare)]


def _has_no_key(word: str) -> bool:
    """Return whether a word is a value alone: without =, or a path with one in a folder that exists (`r/lr=0.1`)."""
    before, equals, _ = word.partition("=")
    if equals:
        return "/" in before and is_there(word)
    return re.match(r"~[A-Za-z_@]|\+", word) is None  # which delete and add a key


def _quote(word: str, is_sweep: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return word
    read = _parse(word)
    if read is None and _is_one_path(value, is_sweep):
        return override(key, _expanded(value))
    items = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else []
    if read is None and items and not any(_STRUCTURE & set(item) for item in items):
        return override(key, [_expanded(item.strip()) for item in items])
    if read is not None and read.is_sweep_override() and not is_sweep and is_there(value):
        return override(key, _expanded(value))
    return word


def _expanded(value: str) -> str:
    """A path with the home folder in place of ~."""
    return str(expanded(value)) if value.startswith("~") else value


def _is_one_path(value: str, is_sweep: bool) -> bool:
    """Return whether a value that Hydra cannot read can only be text: it has no structure, or names what exists."""
    if not _STRUCTURE & set(value):
        return bool(value.strip())
    return is_there(value) and not (is_sweep and "," in value)


def _parse(word: str) -> Override | None:
    """The override, or None if Hydra cannot read it."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
