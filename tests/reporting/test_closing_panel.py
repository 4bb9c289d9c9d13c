"""The panel that ends a command."""

import pytest

from ebm_cli.reporting.closing_panel import as_sentence, closing_panel
from tests.reporting.support import output_of, terminal


def test_closing_panel_shows_results_paths_and_commands() -> None:
    screen = terminal()
    where = "outputs/train/2031-01-01/" + "x" * 90
    commands, notes = ["ebm sample checkpoint=[RUN]"], ["log Z: [why]"]
    closing_panel("[it] finished", {"eval/kl": 0.0013}, {"run": where}, commands, notes).show(screen)
    text = output_of(screen)
    for expected in ("[it] finished", "0.001300", "ebm sample checkpoint=[RUN]", "Log Z: [why]."):
        assert expected in text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_what_is_copied_is_not_broken_by_a_frame(width: int) -> None:
    screen = terminal(width)
    where, command = "outputs/" + "x" * 90, f"ebm sample checkpoint={'y' * 90}"
    closing_panel("finished", {"eval/kl": 0.0013}, {"run": where}, [command]).show(screen)
    lines = output_of(screen).splitlines()
    assert [f"  run  {where}", f"  $ {command}"] == lines[-2:]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mode 3 has 0.2", "Mode 3 has 0.2."),
        ("close: KL 0.004 nats", "Close: KL 0.004 nats."),
        ("eval/kl, eval/nll: no log Z", "eval/kl, eval/nll: no log Z."),
        ("best.pt is the last checkpoint", "best.pt is the last checkpoint."),
        ("log_z is rough", "log_z is rough."),
        ("guard=rollback: twice", "guard=rollback: twice."),
        ("600 steps are few.", "600 steps are few."),
        ("R-hat is infinite", "R-hat is infinite."),
        ("", ""),
    ],
)
def test_notes_are_sentences_and_names_stay_as_they_are(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


def test_screen_and_log_have_the_same_sentences() -> None:
    screen = terminal()
    panel = closing_panel("done", {}, {}, notes=["mode 3 is wrong"], failures=["7 draws are not finite"])
    panel.show(screen)
    assert list(panel.sentences) == ["7 draws are not finite.", "Mode 3 is wrong."]
    assert all(sentence in output_of(screen) for sentence in panel.sentences)
