"""TensorBoard events: what is written, and how resumed runs and full disks are handled."""

import errno
import threading
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from ebm_cli.reporting.figures.canvas import pixels
from ebm_cli.reporting.figures.overview import samples_figure
from ebm_cli.reporting.tensorboard import TensorBoard


def read_events(directory: Path) -> EventAccumulator:
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def test_scalars_skips_values_that_are_no_numbers(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars({"eval/kl": 0.5, "n": 3, "method": "nce", "missing": None, "flag": True}, 7)
    board.close()
    events = read_events(tmp_path)
    assert events.Tags()["scalars"] == ["eval/kl", "n"]
    assert [(e.step, e.value) for e in events.Scalars("eval/kl")] == [(7, 0.5)]


def test_hparams_writes_one_row_into_the_event_file_of_the_run(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars({"eval/kl": 0.5}, 7)
    board.hparams({"method": "nce", "optimizer.lr": 0.002, "max_seconds": None, "ema": 0, "clip": True})
    board.close()
    assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 1
    content = read_events(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["method"].string_value == "nce"
    assert start.hparams["optimizer.lr"].number_value == 0.002
    assert start.hparams["max_seconds"].string_value == "null"
    assert metadata.SESSION_END_INFO_TAG in content
    assert metadata.EXPERIMENT_TAG not in content


def test_resumed_run_hides_events_after_its_checkpoint(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    for step in (10, 20, 30):
        board.scalars({"loss": float(step)}, step)
    board.close()
    resumed = TensorBoard(tmp_path, resumed_at=20)
    resumed.scalars({"loss": 0.5}, 30)
    resumed.close()
    assert [(e.step, e.value) for e in read_events(tmp_path).Scalars("loss")] == [
        (10, 10),
        (20, 20),
        (30, 0.5),
    ]


def test_event_files_of_one_second_sort_by_creation(tmp_path: Path) -> None:
    """TensorBoard compares names as text: a resumed run must not sort before the tenth file of its process."""
    for step in range(12):
        board = TensorBoard(tmp_path / "others" / str(step))
        board.close()
    made = []
    for step in (10, 20):
        board = TensorBoard(tmp_path / "run", resumed_at=None if step == 10 else 10)
        made.append(max((tmp_path / "run").iterdir(), key=lambda path: path.stat().st_mtime_ns).name)
        board.close()
    seconds = [int(name.split(".")[3]) for name in made]
    assert seconds[0] < seconds[1]
    assert made == sorted(made)


def test_hook_silences_a_full_disk_and_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def fail_in_a_thread(error: Exception) -> None:
        def fail() -> None:
            raise error

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    board = TensorBoard(tmp_path)
    fail_in_a_thread(OSError(errno.ENOSPC, "No space left on device"))
    assert seen == []
    other = ValueError("unrelated")
    fail_in_a_thread(other)
    assert [args.exc_value for args in seen] == [other]
    board.close()
    fail_in_a_thread(OSError(errno.ENOSPC, "No space left on device"))
    assert len(seen) == 2


def test_images_and_texts_are_written(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.image("figures/samples", pixels(samples_figure(torch.zeros(10, 2))), 3)
    board.text("config", "seed: 0\nsteps: 5")
    board.close()
    events = read_events(tmp_path)
    assert events.Images("figures/samples")[0].width > 100
    assert events.Tensors("config/text_summary")[0].tensor_proto.string_val[0] == b"    seed: 0\n    steps: 5"
