"""The report: a table of scores, every survivor with its note, and the lines that no test executes."""

from collections.abc import Sequence
from pathlib import Path

from .notes import EQUIVALENT
from .sample import FOLDERS, Mutant

HEAD = """# Mutants

A mutant is the package with one operator or constant changed. It is killed if a test that executes the changed line
fails, or takes ten times as long as usual; a mutant that survives in a formula is a missing test. This is a sample of
n = {n} with seed {seed} of all changes that the operators of cosmic-ray can make in {folders};
`tests/mutants/sample.py` lists what is excluded, and why. Once survivors have become tests, the score of their sample
no longer estimates that of the other mutants; another seed does.

| folder | killed | survived | of | score |
|---|---|---|---|---|
"""


def render(ran: Sequence[tuple[Mutant, str]], missing: dict[str, tuple[int, list[int]]], seed: int) -> str:
    """The report as Markdown."""
    text = HEAD.format(n=len(ran), seed=seed, folders=", ".join(FOLDERS))
    for folder in FOLDERS:
        text += _row(f"`{folder}/`", [how for mutant, how in ran if Path(mutant.site.path).parts[1] == folder])
    text += _row("all", [how for _, how in ran])
    survivors = sorted((m for m, how in ran if how == "survived"), key=lambda m: m.site)
    text += (
        "\n## Survivors\n\nA mutant that is equivalent to the source counts as a survivor; the note says why it is.\n\n"
    )
    for m in survivors:
        text += f"- `{m.site.path}:{m.site.line}` {m.site.operator.partition('/')[2]}\n"
        text += f"  ``{m.before}`` → ``{m.after}``\n  {EQUIVALENT.get((m.before, m.after), 'No test notices it.')}\n"
    lines = sum(n for n, _ in missing.values())
    unseen = sum(len(found) for _, found in missing.values())
    text += f"\n## Lines\n\nThe tests execute {1 - unseen / max(lines, 1):.1%} of the {lines} statements of `ebm_cli`, "
    text += "including the processes that they start. Not executed:\n\n"
    for path, (n, found) in missing.items():
        if found:
            text += f"- `{path}` ({len(found)} of {n}): {_ranges(found)}\n"
    return text


def _row(name: str, outcomes: Sequence[str]) -> str:
    killed = sum(how != "survived" for how in outcomes)
    score = f"{killed / len(outcomes):.0%}" if outcomes else "–"
    return f"| {name} | {killed} | {len(outcomes) - killed} | {len(outcomes)} | {score} |\n"


def _ranges(lines: Sequence[int]) -> str:
    """1, 2, 3, 7 → `1-3, 7`."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
