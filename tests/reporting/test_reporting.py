"""What a run shows and leaves behind."""

import errno
import io
import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch import Tensor

from ebm_cli.datasets import Gaussian, GaussianRing, Synthetic
from ebm_cli.energies.mlp import MLP
from ebm_cli.evaluation.results import describe
from ebm_cli.evaluation.values import Value
from ebm_cli.reporting import console, figure, jsonl, plots
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.results_table import group_results, results_table
from ebm_cli.reporting.tensorboard import TensorBoard


def terminal(live: bool = False) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=live)


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


class TestJsonLines:
    def test_a_line_is_flat_json_and_on_disk_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        with jsonl.JsonLines(path) as lines:
            lines.write(5, {"train/loss": 0.5, "eval/log_z_method": "grid"})
            assert json.loads(path.read_text()) == {"step": 5, "train/loss": 0.5, "eval/log_z_method": "grid"}

    def test_what_is_not_finite_is_null(self) -> None:
        assert jsonl.dumps({"a": math.nan, "b": -math.inf, "c": 1.0}) == '{"a": null, "b": null, "c": 1.0}'

    def test_resuming_leaves_no_step_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        with jsonl.JsonLines(path) as lines:
            for step in (10, 20, 30):
                lines.write(step, {"train/loss": float(step)})
        jsonl.cut_back(path, 20)
        with jsonl.JsonLines(path) as lines:
            lines.write(30, {"train/loss": 0.25})
        assert [(row["step"], row["train/loss"]) for row in jsonl.read(path)] == [(10, 10.0), (20, 20.0), (30, 0.25)]
        assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]

    @pytest.mark.parametrize("torn", ['{"step": 30, "train/lo', '{"step": 3', "\x00\x00", "17"])
    def test_a_torn_last_line_is_dropped(self, tmp_path: Path, torn: str) -> None:
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"step": 10}\n' + torn)
        jsonl.cut_back(path, 100)
        assert path.read_text() == '{"step": 10}\n'

    def test_a_broken_line_in_the_middle_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"step": 10}\nnonsense\n{"step": 20}\n')
        with pytest.raises(ValueError, match="line 2 is not"):
            jsonl.cut_back(path, 20)

    def test_a_run_without_metrics_is_left_alone(self, tmp_path: Path) -> None:
        jsonl.cut_back(tmp_path / "metrics.jsonl", 3)
        assert not list(tmp_path.iterdir())


class TestTables:
    def test_known_groups_come_first(self) -> None:
        values: dict[str, Value] = {"other": 1, "cost/seconds": 2.0, "eval/kl": 0.1, "cost/grad_evals": 3}
        assert list(group_results(values)) == ["eval", "cost", ""]
        assert list(group_results(values)["cost"]) == ["cost/seconds", "cost/grad_evals"]

    def test_a_table_shows_every_key_with_its_value_and_unit(self) -> None:
        screen = terminal()
        screen.print(results_table({"eval/kl": 0.0012345, "cost/seconds": 41.52}))
        lines = [line.split() for line in written(screen).splitlines()]
        assert ["kl", "0.001234", "nats", "0", "close"] in lines
        assert ["seconds", "41.52", "s"] in lines

    def test_a_pure_number_has_no_unit(self) -> None:
        assert describe("eval/mode_tv").unit == ""


class TestProgress:
    def test_plain_lines_at_intervals_where_there_is_no_terminal(self) -> None:
        screen = terminal()
        with Progress(1000, every=250, console=screen) as progress:
            for step in range(50, 1001, 50):
                progress.update(step, {"loss": 0.5, "eval/kl": 0.01})
        lines = written(screen).splitlines()
        assert [line.split()[1] for line in lines] == ["50/1000", "250/1000", "500/1000", "750/1000", "1000/1000"]
        assert all("loss 0.5000" in line and "eval/kl 0.01000" in line and "steps/s" in line for line in lines)
        assert "\x1b" not in written(screen)

    def test_a_bar_on_a_terminal_is_drawn_ten_times_a_second_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        monkeypatch.setattr("ebm_cli.reporting.progress.time.monotonic", lambda: now[0])
        drawn: list[int] = []
        screen = terminal(live=True)
        with Progress(10_000, console=screen) as progress:
            update = progress._bar.update

            def counted(*args: object, **kwargs: object) -> None:
                drawn.append(1)
                update(*args, **kwargs)  # type: ignore[arg-type]

            monkeypatch.setattr(progress._bar, "update", counted)
            for step in range(1, 5001):
                now[0] += 0.001
                progress.update(step, {"loss": 0.5})
        assert 45 <= len(drawn) <= 51
        assert "1 000 steps/s" in written(screen)

    def test_speed_and_time_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("ebm_cli.reporting.progress.time.monotonic", lambda: now[0])
        screen = terminal()
        progress = Progress(2000, start=1000, every=100, console=screen)
        now[0] = 2.0
        progress.update(1100, {})
        assert "50.00 steps/s  18 s left" in written(screen)

    def test_a_message_keeps_its_brackets(self) -> None:
        screen = terminal()
        Progress(10, console=screen).message("wrote [last.pt]")
        assert written(screen) == "wrote [last.pt]\n"

    @pytest.mark.parametrize(("steps", "every", "name"), [(0, 1, "steps"), (10, 0, "every")])
    def test_ranges(self, steps: int, every: int, name: str) -> None:
        with pytest.raises(ValueError, match=f"^{name} must be >= 1, got 0"):
            Progress(steps, every=every)

    def test_make_console_is_wide_where_output_is_piped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        assert console.make_console().width == console.WIDTH_OF_A_PIPE
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert console.make_console().width == 80

    def test_relative_path_is_short_inside_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert console.relative_path(tmp_path / "runs" / "1") == "runs/1"
        assert console.relative_path(tmp_path.parent) == str(tmp_path.parent)

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert console.duration(seconds) == text

    def test_the_closing_panel_names_results_places_and_what_to_type(self) -> None:
        screen = terminal()
        where = "outputs/train/2031-01-01/" + "x" * 90
        screen.print(
            closing_panel(
                "finished", {"eval/kl": 0.0013}, {"run": where}, ["ebm sample checkpoint=[RUN]"], ["log Z: [why]"]
            )
        )
        text = written(screen)
        for expected in ("finished", "0.001300", "ebm sample checkpoint=[RUN]", "log Z: [why]"):
            assert expected in text
        folded = "".join(line.strip("│ ") for line in text.splitlines())
        assert where in folded


class TestTensorBoard:
    def accumulated(self, directory: Path) -> EventAccumulator:
        events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
        events.Reload()
        return events

    def test_scalars_skip_what_is_no_number(self, tmp_path: Path) -> None:
        board = TensorBoard(tmp_path)
        board.scalars({"eval/kl": 0.5, "n": 3, "method": "nce", "missing": None, "flag": True}, 7)
        board.close()
        events = self.accumulated(tmp_path)
        assert events.Tags()["scalars"] == ["eval/kl", "n"]
        assert [(e.step, e.value) for e in events.Scalars("eval/kl")] == [(7, 0.5)]

    def test_hparams_are_a_row_of_this_very_run(self, tmp_path: Path) -> None:
        board = TensorBoard(tmp_path)
        board.scalars({"eval/kl": 0.5}, 7)
        board.hparams({"method": "nce", "optimizer.lr": 0.002, "max_seconds": None, "ema": 0, "clip": True})
        board.close()
        assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 1
        content = self.accumulated(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
        start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
        assert start.hparams["method"].string_value == "nce"
        assert start.hparams["optimizer.lr"].number_value == 0.002
        assert start.hparams["max_seconds"].string_value == "null"
        assert metadata.SESSION_END_INFO_TAG in content
        assert metadata.EXPERIMENT_TAG not in content

    def test_resuming_hides_what_came_after_the_checkpoint(self, tmp_path: Path) -> None:
        board = TensorBoard(tmp_path)
        for step in (10, 20, 30):
            board.scalars({"loss": float(step)}, step)
        board.close()
        resumed = TensorBoard(tmp_path, resumed_at=20)
        resumed.scalars({"loss": 0.5}, 30)
        resumed.close()
        assert [(e.step, e.value) for e in self.accumulated(tmp_path).Scalars("loss")] == [
            (10, 10),
            (20, 20),
            (30, 0.5),
        ]

    def test_files_of_one_second_are_read_in_their_order(self, tmp_path: Path) -> None:
        """The name's number is compared as text: a resumed run must not come before the tenth file of its process."""
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

    def test_full_disk_in_a_thread_is_silent_and_other_errors_are_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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

    def test_figures_and_text(self, tmp_path: Path) -> None:
        board = TensorBoard(tmp_path)
        board.image("figures/samples", figure.pixels(plots.samples_figure(torch.zeros(10, 2))), 3)
        board.text("config", "seed: 0\nsteps: 5")
        board.close()
        events = self.accumulated(tmp_path)
        assert events.Images("figures/samples")[0].width > 100
        assert events.Tensors("config/text_summary")[0].tensor_proto.string_val[0] == b"    seed: 0\n    steps: 5"


class TestPlots:
    def model(self) -> tuple[Synthetic, MLP]:
        torch.manual_seed(0)
        return Synthetic(GaussianRing()), MLP(shape=(2,), width=16)

    def test_the_final_picture_in_two_dimensions(self, tmp_path: Path) -> None:
        data, energy = self.model()
        drawn = plots.final_figure(energy, data, data.held_out(500), 1.0, {"eval/kl": 0.00123})
        titles = [ax.get_title() for ax in drawn.axes]
        assert titles[0] == "data"
        assert "model density   KL 0.001230" in titles
        assert len(titles) == 6
        figure.save(drawn, tmp_path / "final.png")
        assert (tmp_path / "final.png").read_bytes().startswith(b"\x89PNG")

    def panel(self, energy: Any, data: Any, name: str, log_z: float | None) -> Any:
        axes = Figure().add_subplot()
        plots.panels(energy, data, None, log_z, None, 500)[name](axes)
        return axes

    def test_without_log_z_and_samples_there_is_no_model_density(self) -> None:
        data, energy = self.model()
        assert list(plots.panels(energy, data, None, None, None, 500)) == ["data", "data_density", "energy", "score"]

    def test_densities_share_the_colours_and_integrate_to_one_in_data_units(self) -> None:
        data, _ = self.model()

        def truth(u: Tensor) -> Tensor:
            return -data.density.log_prob(data.standardizer.inverse(u)) - data.standardizer.log_det + 3.0

        exact, model = (self.panel(truth, data, name, -3.0).images[0] for name in ("data_density", "density"))
        assert exact.get_clim() == model.get_clim()
        np.testing.assert_allclose(exact.get_array(), model.get_array(), rtol=1e-4, atol=1e-7)
        left, right, bottom, top = model.get_extent()
        mesh = plots.MESH - 1
        cell = (right - left) / mesh * (top - bottom) / mesh
        assert float(model.get_array().sum()) * cell == pytest.approx(1, abs=0.01)

    def test_rows_of_the_picture_are_the_second_coordinate(self) -> None:
        data = Synthetic(Gaussian(2, [0.0, 5.0], [[1.0, 0.0], [0.0, 1.0]]))
        image = self.panel(MLP(shape=(2,), width=8), data, "data_density", None).images[0]
        row, column = np.unravel_index(np.argmax(image.get_array()), image.get_array().shape)
        left, right, bottom, top = image.get_extent()
        assert bottom + (row / (plots.MESH - 1)) * (top - bottom) == pytest.approx(5, abs=0.1)
        assert left + (column / (plots.MESH - 1)) * (right - left) == pytest.approx(0, abs=0.1)

    @pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 8, 8), (3, 8, 8)])
    def test_samples_of_every_shape(self, shape: tuple[int, ...]) -> None:
        x = torch.rand(70, *shape, generator=torch.Generator().manual_seed(0))
        for data in (None, x):
            image = figure.pixels(plots.samples_figure(x, data))
            assert image.dtype == np.uint8
            assert image.std() > 5

    def test_one_dimension(self) -> None:
        data = Synthetic(Gaussian(1, [2.0], [[9.0]]))
        figure = plots.final_figure(lambda u: 0.5 * u[:, 0] ** 2, data, data.held_out(500), 0.5 * math.log(2 * math.pi))
        curves = {line.get_label(): line for line in figure.axes[0].lines}
        exact, model = (curves[name].get_ydata() for name in ("data density", "model density"))
        np.testing.assert_allclose(model, exact, atol=0.002)

    def test_pyplot_is_never_imported(self) -> None:
        code = (
            "import sys, torch; from ebm_cli.reporting import figure, plots, tensorboard; "
            "assert 'matplotlib' not in sys.modules; figure.pixels(plots.samples_figure(torch.zeros(5, 2))); "
            "assert 'matplotlib.pyplot' not in sys.modules"
        )
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
