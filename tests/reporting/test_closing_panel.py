"""The panel that ends a command."""

from ebm_cli.reporting.closing_panel import closing_panel
from tests.reporting.support import output_of, terminal


def test_closing_panel_shows_results_paths_and_commands() -> None:
    screen = terminal()
    where = "outputs/train/2031-01-01/" + "x" * 90
    commands, notes = ["ebm sample checkpoint=[RUN]"], ["log Z: [why]"]
    screen.print(closing_panel("finished", {"eval/kl": 0.0013}, {"run": where}, commands, notes))
    text = output_of(screen)
    for expected in ("finished", "0.001300", "ebm sample checkpoint=[RUN]", "log Z: [why]"):
        assert expected in text
    folded = "".join(line.strip("│ ") for line in text.splitlines())
    assert where in folded
