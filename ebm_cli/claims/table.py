"""The table of verdicts on the claims of an experiment."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.claims import Verdict
from ebm_cli.reporting.narrow import Fitting

_LABELS = {True: ("PASS", "bold green"), False: ("FAIL", "bold red"), None: ("NOT RUN", "yellow")}


def claims_table(verdicts: Sequence[tuple[str, Verdict]]) -> Fitting:
    """(claim's name, verdict) → one row each: the verdict, the claim and the numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", style="cyan", no_wrap=True)
    table.add_column("measured")
    before = ""
    for name, verdict in verdicts:
        label, style = _LABELS[verdict.passed]
        # Text instead of markup: published numbers are in square brackets.
        table.add_row(Text(label, style), Text("" if name == before else name), Text(verdict.what))
        before = name
    return Fitting(table)
