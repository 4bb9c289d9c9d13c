"""The panel that ends a command: its results; below it the files that it wrote, and the next commands."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ebm_cli.evaluation.overall import Overall
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.commands import print_commands
from ebm_cli.reporting.results_table import results_table

FRAME = 6
"""Characters of a frame beside its title."""
_WORD = re.compile(r"[a-z]+[,:;]?")
"""A word in lower case, which is not the name of a key (eval/kl), a file (best.pt) or a quantity (log_z)."""
logger = logging.getLogger(__name__)

OVERALL_STYLES = {
    "right": "bold green",
    "close": "green",
    "fair": "yellow",
    "poor": "bold yellow",
    "broken": "bold red",
    "": "yellow",
}
"""The colours of an overall word; the last is that of a run that is not judged."""
FRAMES = {"poor": "yellow", "broken": "red", "": "yellow"}
"""The colours of the frame, where they are not that of a success."""


@dataclass(frozen=True)
class ClosingPanel:
    """A panel, and what the reader copies from the screen: that stands below it, where no frame breaks a line.

    Attributes:
        title: of the panel; inside it where the frame is too narrow.
        body: results and notes.
        colour: of the frame.
        places: name of an output → its path.
        commands: to run next, as `shell_command` quotes them.
        sentences: what the run is worth and the notes, for a log.
    """

    title: str
    body: Sequence[RenderableType]
    colour: str
    places: Mapping[str, str]
    commands: Sequence[str]
    sentences: Sequence[str]

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

    def log(self) -> None:
        """Write the sentences to the log of the command."""
        for sentence in self.sentences:
            logger.info(sentence)


def closing_panel(
    title: str,
    values: Values,
    places: Mapping[str, str],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    failures: Sequence[str] = (),
    overall: Overall | None = None,
) -> ClosingPanel:
    """Build the panel: what the run is worth, results by group, paths, the next commands.

    Args:
        title: the command and its outcome.
        values: the results, keys of results.json.
        places: name of an output → its path.
        commands: shell commands to run next.
        notes: why a result is missing, or why the run stopped.
        failures: why the results are not to be trusted: in red, above everything else; the frame is red, too.
        overall: its sentence stands on top, in the colour of its word, which the frame has too if it is bad.
    """
    failures, notes = [as_sentence(text) for text in failures], [as_sentence(text) for text in notes]
    red = [Text(failure, style="bold red") for failure in failures]
    top = [] if overall is None else [overall_line(overall)]
    yellow = [Text(note, style="yellow") for note in notes]
    parts: list[RenderableType] = [*top, *red, results_table(values), *yellow]
    frame = "red" if failures else "green"
    if overall is not None and frame == "green":
        frame = FRAMES.get(overall.word, frame)
    sentences = [*([] if overall is None else [as_sentence(overall.sentence)]), *failures, *notes]
    return ClosingPanel(title, parts, frame, places, commands, sentences)


def overall_line(overall: Overall) -> Text:
    """The sentence that says what a run is worth, in the colour of its word."""
    return Text(as_sentence(overall.sentence), style=OVERALL_STYLES[overall.word])


def as_sentence(text: str) -> str:
    """Text with a capital at its beginning and a full stop at its end; names of keys, files and methods stay."""
    text = text.strip()
    first = text.split(maxsplit=1)[0] if text else ""
    if _WORD.fullmatch(first):
        text = first.capitalize() + text[len(first) :]
    return text if text.endswith((".", "!", "?")) or not text else f"{text}."
