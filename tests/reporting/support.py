"""A terminal whose output can be read."""

import io

from rich.console import Console


def terminal(width: int = 100, live: bool = False) -> Console:
    """A console of some width that keeps its output; `live` for one that draws bars."""
    return Console(file=io.StringIO(), width=width, force_terminal=live)


def output_of(console: Console) -> str:
    """Everything that was printed to it."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
