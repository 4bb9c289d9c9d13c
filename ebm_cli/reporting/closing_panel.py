"""The panel that ends a command: its results; below it the files that it wrote, and the next commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.commands import print_commands
from ebm_cli.reporting.results_table import results_table

FRAME = 6
"""Characters of a frame beside its title."""


@dataclass(frozen=True)
class ClosingPanel:
    """A panel, and what the reader copies from the screen: that stands below it, where no frame breaks a line.

    Attributes:
        title: of the panel; inside it where the frame is too narrow.
        body: results and notes.
        colour: of the frame.
        places: name of an output → its path.
        commands: to run next, as `shell_command` quotes them.
    """

    title: str
    body: Sequence[RenderableType]
    colour: str
    places: Mapping[str, str]
    commands: Sequence[str]

    def show(self, console: Console) -> None:
        """Print all of it."""
        is_narrow = len(self.title) + FRAME > console.width
        inside = [Text(self.title, style="bold"), *self.body] if is_narrow else self.body
        title = None if is_narrow else Text(self.title)
        console.print(Panel(Group(*inside), title=title, title_align="left", border_style=self.colour, expand=False))
        width = max((len(name) for name in self.places), default=0)
        for name, path in self.places.items():
            console.print(Text.assemble((f"  {name:<{width}}  ", "cyan"), path), soft_wrap=True)
        print_commands(console, self.commands)


def closing_panel(
    title: str,
    values: Values,
    places: Mapping[str, str],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    success: bool = True,
    failures: Sequence[str] = (),
) -> ClosingPanel:
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
    red = [Text(failure, style="bold red") for failure in failures]
    parts: list[RenderableType] = [*red, results_table(values), *(Text(note, style="yellow") for note in notes)]
    colour = "green" if success and not failures else "red"
    return ClosingPanel(title, parts, colour, places, commands)
