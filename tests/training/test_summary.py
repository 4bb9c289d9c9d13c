"""The closing panel of a run."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from ebm_cli.evaluation.results import Results
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History, Rollbacks
from ebm_cli.training.summary import Ending, closing_summary


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a run of nce on moons."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    choices = "hydra: {runtime: {choices: {method: nce, dataset: moons}}}"
    (tmp_path / "run" / ".hydra" / "hydra.yaml").write_text(choices)


def summary(history: History, ending: Ending, measured: Results | None = None) -> str:
    """Text of the panel, on one line."""
    panel = closing_summary(Path("run"), ending, measured or Results(), {"eval/kl": 0.5}, {"picture": "p.png"}, history)
    text = io.StringIO()
    panel.show(Console(file=text, width=200))
    return " ".join(text.getvalue().replace("│", " ").split())


def test_next_command_trusts_the_packages_of_the_run() -> None:
    ending = Ending(1000, 1000, 61.7, None)
    panel = closing_summary(Path("run"), ending, Results(), {}, {}, finished(), foreign=["my_package"])
    text = io.StringIO()
    panel.show(Console(file=text, width=200))
    assert "$ ebm sample checkpoint=run 'trust=[my_package]'" in text.getvalue()


def finished(best: float = 0.5) -> History:
    history = History("eval/kl", Rollbacks())
    history.best = best
    return history


def test_summary_names_files_and_next_commands() -> None:
    text = summary(finished(), Ending(1000, 1000, 61.7, None))
    assert "nce on moons: 1,000 steps in 62 s" in text
    assert "run run picture p.png" in text
    assert "$ ebm sample checkpoint=run $ tensorboard --logdir run" in text
    assert "best.pt" not in text


def test_summary_says_whose_results_they_are() -> None:
    text = summary(finished(), Ending(1000, 400, 1.0, "early stopping: no improvement"))
    assert "Early stopping: no improvement." in text
    assert "These are the results of best.pt, of step 400; last.pt is of step 1,000." in text
    assert "$ ebm sample checkpoint=run $ tensorboard" in text


def test_summary_says_that_nothing_was_monitored() -> None:
    text = summary(finished(math.inf), Ending(5, 5, 1.0, None))
    assert "best.pt is the last checkpoint: there is no eval/kl; monitor=NAME chooses another result" in text
    text = summary(finished(math.inf), Ending(9, 9, 1.0, None, kept=5))
    assert "best.pt is of step 5, in the first phase: the second has no eval/kl; monitor=NAME" in text


def test_summary_holds_notes_and_missing_results() -> None:
    measured = Results(absent={"eval/mmd": "some chains diverged"}, notes=("chains start at noise",))
    text = summary(finished(), Ending(5, 5, 1.0, None), measured)
    assert "Chains start at noise." in text
    assert "eval/mmd: some chains diverged" in text


def test_summary_tells_of_rollbacks() -> None:
    history = finished()
    history.rollbacks.record(Diverged(7, "the loss is not finite"), {"step": 5})
    text = summary(history, Ending(9, 9, 1.0, None))
    assert "guard=rollback: diverged at step 7: the loss is not finite" in text
    assert "back to step 5, learning rates times 0.25, try 1 of 5" in text


@pytest.mark.parametrize("seconds", [0.0, 3.2])
def test_clock_counts_earlier_processes(seconds: float) -> None:
    history = finished()
    history.clock.before = seconds
    history.clock.start()
    assert seconds <= history.clock.read() < seconds + 5
