"""Formulas of pages: blocks of language `math`, in TeX, become MathML, which browsers draw with their own fonts."""

import re
from typing import Any

from latex2mathml.converter import convert

THIN = '<mspace width="0.167em" />'


def mathml(source: str, *_: Any, **__: Any) -> str:
    """A formula on lines of its own: what the extension `superfences` calls for such a block.

    Args:
        source: TeX without delimiters.

    Raises: ValueError for a command that the conversion does not know, and would show as its name.
    """
    made = convert(source, display="block")
    unknown = re.search(r"\\\w*", made)
    if unknown:
        raise ValueError(f"no formula is made of {unknown[0]} in {source!r}")
    return f'<div class="formula">{_spaced(made)}</div>'


def _spaced(made: str) -> str:
    """MathML with a thin space between a logarithm and what it stands beside, as TeX has it."""
    behind = re.sub(r"(<mi>log</mi>)(?=<m(?!o\b))", rf"\1{THIN}", made)
    return re.sub(r"((?:&#x02207;</mo>|</m(?:i|n|sub|sup|frac|row)>))(?=<mi>log</mi>)", rf"\1{THIN}", behind)
