"""The panel that ends a command."""

import pytest

from ebm_cli.reporting.closing_panel import closing_panel
from tests.reporting.support import output_of, terminal


def test_closing_panel_shows_results_paths_and_commands() -> None:
    screen = terminal()
    where = "outputs/train/2031-01-01/" + "x" * 90
    commands, notes = ["ebm sample checkpoint=[RUN]"], ["log Z: [why]"]
    closing_panel("[it] finished", {"eval/kl": 0.0013}, {"run": where}, commands, notes).show(screen)
    text = output_of(screen)
    for expected in ("[it] finished", "0.001300", "ebm sample checkpoint=[RUN]", "log Z: [why]"):
        assert expected in text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_what_is_copied_is_not_broken_by_a_frame(width: int) -> None:
    screen = terminal(width)
    where, command = "outputs/" + "x" * 90, f"ebm sample checkpoint={'y' * 90}"
    closing_panel("finished", {"eval/kl": 0.0013}, {"run": where}, [command]).show(screen)
    lines = output_of(screen).splitlines()
    assert [f"  run  {where}", f"  $ {command}"] == lines[-2:]
