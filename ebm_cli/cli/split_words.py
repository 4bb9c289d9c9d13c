"""Overrides that the shell has divided at a space: `steps = 100`, `steps 100`, `betas=[0.9, 0.99]`, `path=my run`.

Each part alone would mean something else, or nothing; the whole is shown as it has to be typed.
"""

from collections.abc import Collection, Sequence

from ebm_cli.errors import UserError
from ebm_cli.quoting import shell_word, typed
from ebm_cli.system.home import is_there

_PAIRS = {"[": "]", "{": "}", "(": ")"}


def require_whole(words: Sequence[str], keys: Collection[str]) -> None:
    """Refuse overrides that are parts of one.

    Args:
        words: typed behind a verb, without flags.
        keys: dotted names that the verb knows.

    Raises:
        UserError: the first of them; the message has the word to type.
    """
    for i, word in enumerate(words):
        after = words[i + 1 :]
        whole = (
            _around_equals(word, after)
            or _in_brackets(word, after)
            or _in_a_path(word, after)
            or _without_equals(word, after, keys)
        )
        if whole is not None:
            raise UserError(whole)


def _around_equals(word: str, after: Sequence[str]) -> str | None:
    """`steps = 100`, `steps =100`, `steps= 100`."""
    following = after[0] if after else ""
    if "=" not in word and following.startswith("="):
        value = following[1:] or next(iter(after[1:]), "VALUE")
        return f"{word} = {value}: no spaces around =; type {shell_word(f'{word}={value}')}"
    if word.endswith("=") and word.count("=") == 1 and following and "=" not in following:
        return f"{word} {following}: no space after =; type {shell_word(word + following)}"
    return None


def _in_brackets(word: str, after: Sequence[str]) -> str | None:
    """`betas=[0.9, 0.99]`, which begins a list, and ends it in another word."""
    if "=" not in word or _is_closed(word):
        return None
    for n in range(1, len(after) + 1):
        whole = " ".join([word, *after[:n]])
        if "=" in after[n - 1]:
            return None
        if _is_closed(whole):
            return f"{whole}: quote it, or leave the spaces out: {shell_word(whole.replace(' ', ''))}"
    return None


def _is_closed(text: str) -> bool:
    return all(text.count(begin) <= text.count(end) for begin, end in _PAIRS.items())


def _in_a_path(word: str, after: Sequence[str]) -> str | None:
    """`checkpoint=my run` and `my run`, where there is a folder `my run`, and none of the parts."""
    key, equals, value = word.partition("=") if "=" in word else ("", "", word)
    whole = f"{value} {after[0]}" if value and after and "=" not in after[0] else ""
    is_path = whole and is_there(whole) and not any(map(is_there, (value, after[0])))
    shown = typed(key, whole) if equals else shell_word(whole)
    return f"{key}{equals}{whole}: quote a path with a space: {shown}" if is_path else None


def _without_equals(word: str, after: Sequence[str], keys: Collection[str]) -> str | None:
    """`steps 100` and `steps`."""
    if word not in keys or is_there(word):
        return None
    value = after[0] if after and "=" not in after[0] else "VALUE"
    shown = f"{word} {value}" if value != "VALUE" else word
    return f"{shown}: a key is set with {shell_word(f'{word}={value}')}"
