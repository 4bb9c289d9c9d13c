"""Tables on which no likelihood has an upper bound, so that a better one means nothing.

A density that is concentrated within a width w of a value that a share s of the rows have, or of a plane that they all
lie on, gains s log 1/w nats a row, and w may be as small as one likes. This counts from half of the rows (`report`): a
constant or nearly constant column, one with a dominant value, a column that others determine.
"""

from collections.abc import Sequence

from ebm_cli.datasets.findings import Finding, Labels, Run, listed, without

SHOWN = 3
"""Findings that are named at most."""


def unbounded(findings: Sequence[Finding], label: Labels, run: Run) -> str:
    """The columns on which no likelihood has an upper bound, and what to do: `facts; cure`. Empty if there are none."""
    found = [finding for finding in findings if finding.unbounds]
    if not found:
        return ""
    facts = [_fact(finding, label) for finding in found]
    others = [finding for finding in found if finding.kind == "ties" or label.is_image]
    drop = sorted({j for finding in found if finding not in others for j in finding.unbounds})
    cures = [*([without(drop, label, run)] if drop else []), *(finding.cure for finding in others)]
    more = [f"{len(facts) - SHOWN} more findings"] * (len(facts) > SHOWN)
    return f"{listed([*facts[:SHOWN], *more])}; {listed(list(dict.fromkeys(cures)))}"


def _fact(finding: Finding, label: Labels) -> str:
    if finding.kind != "ties":
        return finding.fact
    return f"half of the rows or more share a value of {label.many(finding.unbounds)}"
