"""TensorBoard: what a run shows there goes through this one class.

A scalar costs about 0.05 ms: write at intervals, not every step.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from ebm_cli.evaluation.values import Value
from ebm_cli.reporting.figure import Array


class TensorBoard:
    """Writes one run's events.

    Args:
        directory: the run directory.
        resumed_at: step that a resumed run continues from; events after it are hidden.
    """

    def __init__(self, directory: Path, resumed_at: int | None = None) -> None:
        purge_step = None if resumed_at is None else resumed_at + 1
        _wait_for_a_later_name(directory)
        self._writer = SummaryWriter(str(directory), purge_step=purge_step)
        # A full disk is raised with the next number that is written: its thread is not to print a traceback as well.
        self._writer._get_file_writer().event_writer._async_writer._worker._invoke_excepthook = lambda _: None

    def scalars(self, values: Mapping[str, Value], step: int) -> None:
        """Every number of a flat dict; text, booleans and missing values are skipped."""
        for key, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(key, value, step)

    def image(self, name: str, pixels: Array, step: int) -> None:
        """A picture: RGB [height, width, 3], uint8."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        """How numbers [N] are spread; those that are not finite are left out, and nothing is written of none."""
        finite = values.detach().flatten()[values.detach().flatten().isfinite()].cpu()
        if len(finite):
            self._writer.add_histogram(name, finite, step)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """A text, shown as it is: the run's config, for instance."""
        self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

    def hparams(self, params: Mapping[str, Value]) -> None:
        """The run's settings, for the HPARAMS page: one row a run, beside the last value of every scalar of this run.

        Only the session's own summaries are written, into this run's event file: `SummaryWriter.add_hparams` would make
        a second run of them. Without an experiment summary the page's columns are the union over all runs, so that a
        sweep over methods, which have different settings, shows them all.
        """
        shown = {key: "null" if value is None else value for key, value in params.items()}
        _, start, end = hparams_summaries(shown, {})
        for summary in (start, end):
            self._writer._get_file_writer().add_summary(summary)

    def flush(self) -> None:
        """Put everything written so far on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def _wait_for_a_later_name(directory: Path) -> None:
    """Wait out the second of the newest event file, a moment at most.

    TensorBoard reads a directory's files in the order of their names, which begin with the second that they were made
    in and end with a number that is compared as text: of two in one second the tenth would come before the ninth.
    """
    seconds = [path.name.split(".")[3] for path in directory.glob("events.out.tfevents.*")]
    newest = max((int(second) for second in seconds if second.isdigit()), default=0)
    # The clock may have been set back: then there is nothing to wait for.
    while int(time.time()) == newest:
        time.sleep(0.01)
