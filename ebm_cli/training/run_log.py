"""The log of a training run: one `write` behind metrics.jsonl, TensorBoard and the progress bar."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from rich.console import Console

from ebm_cli.datasets.findings import Finding
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.board_tags import settings_shown
from ebm_cli.reporting.jsonl import JsonLines, cut_back
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.tensorboard import TensorBoard

logger = logging.getLogger(__name__)


class _Files(NamedTuple):
    """Files that an open log writes to."""

    metrics: JsonLines
    board: TensorBoard


class Opening(NamedTuple):
    """Sentences that open the log of a new run.

    Attributes:
        findings: of the report on the data.
        unbounded: columns on which no likelihood has an upper bound, with the cure; empty if there are none.
        remarks: on weights that the run starts from.
    """

    findings: tuple[Finding, ...] = ()
    unbounded: str = ""
    remarks: tuple[str, ...] = ()


class RunLog:
    """Log of one run.

    Args:
        run: run directory.
        console: the terminal.
        steps: last step of the run.
        start: step that this process starts from; what an earlier one wrote after it is dropped.
        bar: keys of the values that the progress bar shows → their names there, in their order.
        opening: of a new run.
    """

    def __init__(
        self,
        run: Path,
        console: Console,
        steps: int,
        start: int,
        bar: Mapping[str, str],
        opening: Opening | None = None,
    ) -> None:
        self.opening = opening or Opening()
        self.console = console
        self.progress = Progress(steps, start, console=console)
        self._run, self._start, self._bar = run, start, dict(bar)
        self._shown: dict[str, Any] = {}
        self._files: _Files | None = None
        self._remarked: set[str] = set()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the files open in the block."""
        self._open(self._start)
        try:
            yield
        finally:
            self._close()

    @property
    def board(self) -> TensorBoard:
        """TensorBoard, for figures and histograms."""
        assert self._files is not None, "the log is not open"
        return self._files.board

    def describe(self, config: Mapping[str, Any], choices: Mapping[str, str], typed: Sequence[str] = ()) -> None:
        """Write the config of a new run, and its settings for TensorBoard's HPARAMS page.

        Args:
            config: resolved.
            choices: group → option.
            typed: overrides of the run.
        """
        self.board.text("config", OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        self.board.hparams(settings_shown(config, choices, typed))

    def write(self, step: int, values: Values) -> None:
        """Write the values of a step. The bar moves with those of training, and shows the others from then on."""
        assert self._files is not None, "the log is not open"
        self._files.metrics.write(step, values)
        self._files.board.scalars(values, step)
        self._shown |= {name: values[key] for key, name in self._bar.items() if key in values}
        if any(key.startswith("train/") for key in values):
            self.progress.update(step, self._shown)

    def note(self, sentence: str) -> None:
        """Write a sentence that is no warning to the terminal and to train.log."""
        logger.info(sentence)
        self.progress.message(sentence)

    def remark(self, sentence: str) -> None:
        """Write a sentence to the terminal and to train.log."""
        logger.warning(sentence)
        self.progress.message(sentence)

    def remark_once(self, sentence: str) -> None:
        """Write a sentence that was not written before."""
        if sentence not in self._remarked:
            self._remarked.add(sentence)
            self.remark(sentence)

    def cut_back(self, step: int) -> None:
        """Drop everything after `step`, for a run that returned to it."""
        self._close()
        self._shown = {}
        self._open(step)

    def close(self, notes: list[str]) -> None:
        """Close the files of a finished run; events that cannot be written any more cost a sentence in `notes`."""
        with optional("the last events for TensorBoard", notes):
            self._close()

    def _open(self, step: int) -> None:
        metrics = self._run / "metrics.jsonl"
        # Also for a new run: one that was killed before its first checkpoint left lines here.
        cut_back(metrics, step)
        has_events = any(self._run.glob("events.out.tfevents.*"))
        board = TensorBoard(self._run, step if has_events else None, self._bar)
        self._files = _Files(JsonLines(metrics), board)

    def _close(self) -> None:
        files, self._files = self._files, None
        if files is None:
            return
        try:
            files.board.close()
        finally:
            files.metrics.close()


class SilentLog(RunLog):
    """The log of a process that is not the first of its run: it writes nothing."""

    @contextmanager
    def open(self) -> Iterator[None]:
        yield

    def write(self, step: int, values: Values) -> None:
        pass

    def note(self, sentence: str) -> None:
        pass

    def remark(self, sentence: str) -> None:
        pass

    def cut_back(self, step: int) -> None:
        pass
