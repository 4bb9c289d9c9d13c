"""The key that an unknown word means: a key of another place, another spelling, or a word of another program.

`ranks` is `parallel.ranks`, `optimiser.lr` is `optimizer.lr`, and `learning_rate` is `optimizer.lr`. Nothing is
suggested for a word that is near to none.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

NEAR, VERY_NEAR = 0.72, 0.85
"""Ratios of `difflib` from which a name is a misspelling of another: one letter in four; of a short word, one."""
SAME_GROUP = 0.5
"""The same for the group of a key: optim is optimizer, and sampler is not energy."""
MOST = 3
"""Keys that are suggested for one word."""
OTHER_WORDS = {
    "learning_rate": "lr", "early_stopping": "patience", "hidden_dim": "width", "resume_from": "checkpoint",
    "load_from": "checkpoint", "weights_decay": "weight_decay", "log_dir": "dir", "out_dir": "dir", "save_dir": "dir",
    "output_dir": "dir", "outdir": "dir", "logdir": "dir", "output": "dir", "folder": "dir",
    "epochs": "steps", "epoch": "steps", "iterations": "steps", "iters": "steps", "iter": "steps", "updates": "steps",
    "hidden": "width", "units": "width", "layers": "depth", "warmup": "pct_start", "burnin": "burn_in", "bs": "batch",
    "freq": "every", "frequency": "every", "interval": "every", "period": "every", "save": "checkpoint",
    "ckpt": "checkpoint", "model": "energy", "network": "energy", "net": "energy", "loss": "method",
    "gpu": "device", "cuda": "device", "gpus": "ranks", "processes": "ranks", "optim": "optimizer", "opt": "optimizer",
    "optimiser": "optimizer", "gradient": "grad",
}  # fmt: skip
"""Words, and parts of words, of other programs → ours."""
FILLERS = frozenset(
    {"n", "num", "nb", "number", "max", "total", "train", "training", "name", "type", "mode", "value", "decay",
     "random", "size", "of", "from"}
)  # fmt: skip
"""Parts that a name may have or lack and mean the same: max_steps, n_epochs, batch."""


def same_keys(word: str, known: Iterable[str]) -> list[str]:
    """The keys that a word is, but for its group, its case, or what stands between its words; best first.

    Args:
        word: dotted, as typed.
        known: dotted keys.
    """
    keys = _shortest_first(known)
    same = [key for key in keys if _letters(key) == _letters(word)]
    if not same:
        same = [key for key in keys if _letters(_leaf(key)) == _letters(_leaf(word))]
    return _of_near_group(word, same) or same[:MOST]


def near_keys(word: str, known: Iterable[str]) -> list[str]:
    """The keys that an unknown word may mean, best first; empty if none is near.

    In this order: the same last part in another place (`ranks`, `optim.lr`), a near spelling (`stepz`), the same words
    (`n_epochs`, `learning_rate`), a part of a longer name (`clip`, `chains`), and a spelling that is less near.

    Args:
        word: dotted, as typed.
        known: dotted keys.
    """
    keys, own = _shortest_first(known), _in_our_words(word)
    near = max(keys, key=lambda key: _nearness(word, key), default="")
    nearness = _nearness(word, near)
    return (
        same_keys(word, keys)
        or ([near] if nearness >= VERY_NEAR else [])
        or _of_same_words(own, keys)
        or ([near] if nearness >= NEAR else [])
    )


def suggestion(keys: Sequence[str]) -> str:
    """`; did you mean a, b or c?`, and an empty string for no keys."""
    *others, last = keys or ("",)
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if keys else ""


def _of_same_words(word: str, keys: Sequence[str]) -> list[str]:
    """The keys whose names have all words of this one, and no others if there are such; the least nested."""
    words = _words(_leaf(word))
    same = [key for key in keys if _words(key) == _words(word)] if words else []
    same = same or [key for key in keys if _words(_leaf(key)) == words != frozenset()]
    same = same or [key for key in keys if frozenset() < words < _words(_leaf(key))]
    return _of_near_group(word, [key for key in same if key.count(".") == same[0].count(".")])


def _of_near_group(word: str, keys: Sequence[str]) -> list[str]:
    """The first keys, for a word with a group one of the nearest group: `optim.lr` is not `polish.lr`."""
    if "." not in word:
        return list(keys[:MOST])
    ratios = {key: _spelling(_group(word), _group(key)) for key in keys}
    return [key for key in keys if ratios[key] >= SAME_GROUP and ratios[key] == max(ratios.values())][:1]


def _nearness(word: str, key: str) -> float:
    """Ratio of the spellings, 0 to 1: of both as they are, or of a word without a group and a key in one."""
    if "." in word:
        return _ratio(word, key) if "." in key else 0.0
    return max(_ratio(word, key), _ratio(word, _leaf(key)))


def _ratio(word: str, key: str) -> float:
    """Ratio of two names: of as many parts, the mean of theirs, since noise_dim is not noise_std."""
    pairs = [re.split(r"[._]", text.lower()) for text in (word, key)]
    if len(pairs[0]) != len(pairs[1]):
        return _spelling(word, key)
    ratios = [_spelling(a, b) for a, b in zip(*pairs, strict=True) if a != b or a not in FILLERS]
    return sum(ratios) / max(len(ratios), 1)


def _spelling(a: str, b: str) -> float:
    return SequenceMatcher(None, a.lower(), b.lower()).ratio()


def _shortest_first(keys: Iterable[str]) -> list[str]:
    return sorted(set(keys), key=lambda key: (key.count("."), len(key), key))


def _group(key: str) -> str:
    return key.rpartition(".")[0]


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _letters(text: str) -> str:
    """A name without what is easily mistaken: case, and what stands between its words."""
    return re.sub(r"[\W_]", "", text.lower())


def _in_our_words(word: str) -> str:
    """A name with the words of other programs replaced."""
    text = word.lower().replace("-", "_")
    for other, own in OTHER_WORDS.items():
        text = re.sub(rf"(?<![a-z]){other}(?![a-z])", own, text)
    return text


def _words(text: str) -> frozenset[str]:
    """The words of a name, without fillers."""
    return frozenset(re.split(r"[\W_]+", text.lower())) - FILLERS - {""}
