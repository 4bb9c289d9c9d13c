"""Words as they are typed: a value quoted for Hydra's grammar of overrides, and a word quoted for the shell.

Every message and panel that shows an override or a command takes it from here, so that it runs when it is pasted.
Hydra reads `r/lr=0.1`, `my run` and `größe.npy` only in quotes, and the shell takes those quotes for its own.
"""

import re
import shlex
from collections.abc import Sequence
from os import PathLike, fspath

Typed = str | PathLike[str] | bool | int | float | None | Sequence["Typed"]
"""A value of an override: text, a path, a number, true or false, null, or a list of these."""

_BARE = re.compile(r"[A-Za-z0-9_./@%+:-]+")
"""Text that Hydra reads without quotes, unless it is read as a number or a keyword."""
_NUMBER = re.compile(r"[+-]?(?:[\d_]+\.?[\d_]*|\.[\d_]+)(?:e[+-]?[\d_]+)?|[+-]?(?:inf|nan)|true|false|null", re.I)
_SPECIAL_IN_DOUBLE_QUOTES = frozenset('"$`\\!')
"""Characters that a shell reads between double quotes; `!` at its prompt only."""


def override(key: str, value: Typed) -> str:
    """The override `key=value` in Hydra's grammar, with the value quoted where it has to be."""
    return f"{key}={_hydra_value(value)}"


def shell_word(word: str) -> str:
    """A word quoted for a POSIX shell, in one line; unchanged where it needs no quotes.

    Double quotes are preferred where nothing between them is special: "checkpoint='r/lr=0.1'". Control characters,
    which would break the line, are written as bash, zsh and ksh read them: $'a\\nb'.
    """
    if any(ord(c) < 32 or ord(c) == 127 for c in word):
        escaped = "".join(f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c for c in _escape(word, "\\'"))
        return f"$'{escaped}'"
    quoted = shlex.quote(word)
    return f'"{word}"' if "'" in word and not _SPECIAL_IN_DOUBLE_QUOTES & set(word) else quoted


def typed(key: str, value: Typed) -> str:
    """The override `key=value` as it is typed in a shell: lr=0.1, or "checkpoint='r/lr=0.1'"."""
    return shell_word(override(key, value))


def _hydra_value(value: Typed) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PathLike):
        return _hydra_text(fspath(value))
    return f"[{','.join(map(_hydra_value, value))}]"


def _hydra_text(text: str) -> str:
    """Text in Hydra's grammar: a quote in it is escaped, and so are the backslashes before one.

    `${…}` is escaped for OmegaConf, which would read it as an interpolation.
    """
    if _BARE.fullmatch(text) and not _NUMBER.fullmatch(text):
        return text
    if "${" in text:
        text = re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", text)
    # The quotes that leave the other kind to the shell, if the text has none of its own.
    mark = '"' if _SPECIAL_IN_DOUBLE_QUOTES & set(text) and '"' not in text else "'"
    inside = re.sub(rf"(\\*){mark}", lambda found: f"{found[1] * 2}\\{mark}", text)
    ending = len(inside) - len(inside.rstrip("\\"))
    return f"{mark}{inside}{chr(92) * ending}{mark}"


def _escape(text: str, characters: str) -> str:
    return "".join(f"\\{c}" if c in characters else c for c in text)
