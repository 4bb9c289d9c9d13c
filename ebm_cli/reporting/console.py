"""Console output: its width, paths and durations as text. Imports only rich's console, so that it loads fast."""

import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from rich.console import Console

logger = logging.getLogger(__name__)

WIDTH_OF_A_PIPE = 240
"""Characters in a line where output goes to a pipe or a log, which has no width to fit into: nothing is cut."""
_BLANKS = re.compile(r" +(?=\n)")


class Unpadded:
    """Standard output, without the blanks at the ends of lines with which rich fills up a table."""

    @property
    def encoding(self) -> str:
        """The encoding of standard output, on which the characters of a table depend."""
        return sys.stdout.encoding

    def write(self, text: str) -> int:
        sys.stdout.write(_BLANKS.sub("", text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


def make_console() -> Console:
    """A console as wide as the terminal, or `WIDTH_OF_A_PIPE` where output goes elsewhere, without trailing blanks."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_PIPE, file=cast("IO[str]", Unpadded()))


def announce(sentences: Iterable[str], console: Console) -> None:
    """Write sentences to the terminal and to the log."""
    for sentence in sentences:
        logger.info(sentence)
        console.print(sentence, highlight=False, markup=False)


def relative_path(path: Path) -> str:
    """The path as text, relative to the current folder where it lies inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def duration(seconds: float) -> str:
    """A duration in its two largest units: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
