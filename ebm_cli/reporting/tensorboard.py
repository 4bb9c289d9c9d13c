"""TensorBoard: the one class through which a run writes its events.

A scalar costs about 0.05 ms: write at intervals, not every step.
"""

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from ebm_cli.errors import full_disk
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.board_tags import tag_of


class TensorBoard:
    """Writer of one run's events.

    Its thread hands a full disk to the next call of a method, which raises it.

    Args:
        directory: the run directory.
        resumed_at: step from which a resumed run continues; events after it are hidden.
        monitored: keys of the run's main results (`board_tags`).
    """

    def __init__(self, directory: Path, resumed_at: int | None = None, monitored: Collection[str] = ()) -> None:
        self._monitored = monitored
        purge_step = None if resumed_at is None else resumed_at + 1
        _wait_for_a_later_name(directory)
        self._restore_hook = _silence_full_disk()
        try:
            self._writer = SummaryWriter(str(directory), purge_step=purge_step)
        except BaseException:
            self._restore_hook()
            raise

    def scalars(self, values: Values, step: int) -> None:
        """Write every number of a flat dict under its tag; texts, booleans and missing values are skipped."""
        for key, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(tag_of(key, self._monitored), value, step)

    def image(self, name: str, pixels: NDArray[Any], step: int) -> None:
        """Write a picture: RGB [height, width, 3], uint8."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        """Write a histogram of the finite ones of numbers [N]; nothing if there are none."""
        finite = values.detach().flatten()[values.detach().flatten().isfinite()].cpu()
        if len(finite):
            self._writer.add_histogram(name, finite, step)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Write a text that is shown verbatim, such as the run's config."""
        self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

    def hparams(self, params: Values) -> None:
        """Write the run's settings for the HPARAMS page: one row a run, beside the last value of every scalar.

        Only the session's own summaries are written, into this run's event file: the public `SummaryWriter.add_hparams`
        would add a second run for them. Without an experiment summary the page's columns are the union over all runs,
        so that a sweep over methods, which have different settings, shows them all.
        """
        shown = {key: "null" if value is None else value for key, value in params.items()}
        _, start, end = hparams_summaries(shown, {})
        for summary in (start, end):
            self._writer._get_file_writer().add_summary(summary)

    def flush(self) -> None:
        """Write all events so far to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        try:
            self._writer.close()
        finally:
            self._restore_hook()


def _silence_full_disk() -> Callable[[], None]:
    """Keep threads from printing the traceback of a full disk; returns a function that restores the earlier hook.

    The writer's thread also hands the error to the run, which ends with it in one line.
    """
    previous = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if full_disk(args.exc_value) is None:
            previous(args)

    def restore() -> None:
        if threading.excepthook is hook:
            threading.excepthook = previous

    threading.excepthook = hook
    return restore


def _wait_for_a_later_name(directory: Path) -> None:
    """Wait until the second of the newest event file is over, a moment at most.

    TensorBoard reads a directory's files in the order of their names, which begin with the second of their creation and
    end with a number that is compared as text: of two files of one second the tenth would come before the ninth.
    """
    seconds = [path.name.split(".")[3] for path in directory.glob("events.out.tfevents.*")]
    newest = max((int(second) for second in seconds if second.isdigit()), default=0)
    # If the clock was set back, there is nothing to wait for.
    while int(time.time()) == newest:
        time.sleep(0.01)
