"""The panel that ends a command: its results, the files that it wrote, and the next commands."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.results_table import results_table


def closing_panel(
    title: str,
    values: Values,
    places: Mapping[str, str],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    success: bool = True,
    failures: Sequence[str] = (),
) -> Panel:
    """Build the panel: results by group, paths, the next commands.

    Args:
        title: the command and its outcome.
        values: the results, keys of results.json.
        places: name of an output → its path.
        commands: shell commands to run next.
        notes: why a result is missing, or why the run stopped.
        success: the frame is green, otherwise red.
        failures: why the results are not to be trusted: in red, above everything else; the frame is red, too.
    """
    width = max((len(name) for name in places), default=0)
    # Paths and commands are copied by the reader: one that does not fit folds at the edge instead of losing its end.
    where = [Text.assemble((f"{name:<{width}}  ", "cyan"), path, overflow="fold") for name, path in places.items()]
    red = [Text(failure, style="bold red") for failure in failures]
    parts: list[RenderableType] = [*red, results_table(values), *(Text(note, style="yellow") for note in notes), *where]
    if commands:
        parts += [Text(), *(Text.assemble(("  $ ", "dim"), (command, "bold"), overflow="fold") for command in commands)]
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        border_style="green" if success and not failures else "red",
        expand=False,
    )
