"""The verdicts on an experiment's claims as a table."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.claims import Verdict

_WORDS = {True: ("PASS", "bold green"), False: ("FAIL", "bold red"), None: ("NOT RUN", "yellow")}


def claims_table(verdicts: Sequence[tuple[str, Verdict]]) -> Table:
    """(claim's name, verdict) → one row each: the verdict in a word, the claim, the numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", style="cyan", no_wrap=True)
    table.add_column("what came out", overflow="fold")
    before = ""
    for name, verdict in verdicts:
        word, style = _WORDS[verdict.passed]
        # A text, not markup: a published number stands in square brackets.
        table.add_row(Text(word, style), Text("" if name == before else name), Text(verdict.what))
        before = name
    return table
