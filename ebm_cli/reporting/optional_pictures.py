"""Pictures are optional: one that cannot be drawn or written costs a sentence, and nothing else.

Whoever draws writes its results first, and draws inside `optional`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ebm_cli.errors import UserError, describe, first_line, full_disk

logger = logging.getLogger(__name__)


@contextmanager
def optional(what: str, notes: list[str]) -> Iterator[None]:
    """Run a block that draws or writes a picture; an error in it ends the block and becomes a sentence.

    Warnings of the libraries that draw are not shown. An interrupt passes.

    Args:
        what: the picture, with which the sentence begins: "picture: samples.png".
        notes: gets the sentence.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # matplotlib, a user's energy and the disk may each raise anything
        logger.debug("%s failed", what, exc_info=True)
        notes.append(f"{what} is missing, everything else is complete: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    full = full_disk(error)
    if full is not None:
        return f"no room to write it ({full.strerror})"
    if isinstance(error, ImportError):
        return f"matplotlib cannot be imported ({first_line(error)})"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename} cannot be written ({error.strerror})"
    return describe(error)
