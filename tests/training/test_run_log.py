"""The log of a run: one write behind metrics.jsonl, TensorBoard and the progress bar."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from ebm_cli.reporting.jsonl import read
from ebm_cli.training.run_log import RunLog


def make_log(run: Path, start: int = 0) -> tuple[RunLog, io.StringIO]:
    """A log of ten steps, and what it writes to the terminal."""
    text = io.StringIO()
    bar = {"train/loss": "loss", "val/nll": "nll"}
    return RunLog(run, Console(file=text, width=200), 10, start, bar), text


def events_of(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def test_values_reach_file_board_and_bar(tmp_path: Path) -> None:
    log, text = make_log(tmp_path)
    with log.open():
        log.write(1, {"train/loss": 2.0})
        log.write(1, {"val/nll": 3.0})
        log.write(2, {"train/loss": 1.5, "train/grad_norm": 0.5})
    assert read(tmp_path / "metrics.jsonl") == [
        {"step": 1, "train/loss": 2.0, "val/nll": 3.0},
        {"step": 2, "train/loss": 1.5, "train/grad_norm": 0.5},
    ]
    events = events_of(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 2.0), (2, 1.5)]
    assert [(event.step, event.value) for event in events.Scalars("eval_validation/nll")] == [(1, 3.0)]
    first, second = text.getvalue().splitlines()
    assert first.startswith("step  1/10  loss 2.000  ")
    assert second.startswith("step  2/10  loss 1.500  nll 3.000  ")


def test_bar_does_not_move_with_an_evaluation(tmp_path: Path) -> None:
    log, text = make_log(tmp_path)
    with log.open():
        log.write(1, {"val/nll": 3.0})
    assert text.getvalue() == ""


def test_open_drops_what_came_after_the_start(tmp_path: Path) -> None:
    for start in (0, 2):
        log, _ = make_log(tmp_path, start)
        with log.open():
            for step in range(start + 1, start + 4):
                log.write(step, {"train/loss": float(start)})
    steps = [(1, 0.0), (2, 0.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert [(row["step"], row["train/loss"]) for row in read(tmp_path / "metrics.jsonl")] == steps
    assert [(event.step, event.value) for event in events_of(tmp_path).Scalars("train/loss")] == steps


def test_cut_back_drops_steps_and_shown_values(tmp_path: Path) -> None:
    log, text = make_log(tmp_path)
    with log.open():
        for step in (1, 2, 3):
            log.write(step, {"train/loss": 1.0, "val/nll": 2.0})
        log.cut_back(1)
        log.write(4, {"train/loss": 5.0})
    assert [row["step"] for row in read(tmp_path / "metrics.jsonl")] == [1, 4]
    assert [event.step for event in events_of(tmp_path).Scalars("train/loss")] == [1, 4]
    assert "nll" not in text.getvalue().splitlines()[-1]


def test_remark_is_printed_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, text = make_log(tmp_path)
    log.remark("the data have hard edges")
    assert text.getvalue() == "the data have hard edges\n"
    assert [record.message for record in caplog.records] == ["the data have hard edges"]


def test_description_holds_config_choices_and_plain_keys(tmp_path: Path) -> None:
    log, _ = make_log(tmp_path)
    config = {"seed": 3, "method": {"_target_": "a.B", "k": 2}, "metrics": ["density"], "clip": None}
    with log.open():
        log.describe(config, {"method": "nce", "pairing": "default_nce"}, ["method=nce", "method.k=2"])
    events = events_of(tmp_path)
    [tag] = [tag for tag in events.Tags()["tensors"] if tag.startswith("config")]
    assert "seed: 3" in events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
    info = metadata.parse_session_start_info_plugin_data(content)
    assert set(info.hparams) == {"method", "seed", "method.k"}


def test_closed_log_refuses_values(tmp_path: Path) -> None:
    log, _ = make_log(tmp_path)
    with pytest.raises(AssertionError, match="not open"):
        log.write(1, {"train/loss": 1.0})
