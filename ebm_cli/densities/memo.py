"""Fits that are made once for the same rows, however often energy, noise and evaluation ask for them."""

import copy
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, TypeVar

from torch import Tensor, nn

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)

KEPT = 8
"""Fits that are remembered, for each function."""
FEW = 40
"""Rows of a fit within `of_few_rows`: none of the choices that take long is made for so few."""

_hasty = ContextVar("_hasty", default=False)


@contextmanager
def of_few_rows() -> Iterator[None]:
    """Within it, fits are of the first rows alone, and not remembered: enough to see whether a config fits together.

    The jobs of a sweep are all looked at before the first one starts, each with rows of its own.
    """
    token = _hasty.set(True)
    try:
        yield
    finally:
        _hasty.reset(token)


def fitted_once(fit: Callable[Concatenate[Tensor, P], M]) -> Callable[Concatenate[Tensor, P], M]:
    """Remember a function's latest fits by content, shape, dtype and device of the rows, and by its other arguments.

    Every call returns a copy of its own: a caller may move it to another device or train it.
    """
    known: OrderedDict[object, M] = OrderedDict()

    @functools.wraps(fit)
    def remembered(rows: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> M:
        if _hasty.get():
            return fit(rows[:FEW], *args, **kwargs)
        key = (_content(rows), args, tuple(sorted(kwargs.items())))
        if key not in known:
            known[key] = fit(rows, *args, **kwargs)
        known.move_to_end(key)
        while len(known) > KEPT:
            known.popitem(last=False)
        return copy.deepcopy(known[key])

    return remembered


def _content(rows: Tensor) -> tuple[object, ...]:
    values = rows.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(values.tobytes(), digest_size=16).digest(), tuple(rows.shape), rows.dtype, rows.device
