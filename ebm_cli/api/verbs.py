"""`train` and `evaluate`: the verbs, called from Python."""

from collections.abc import Sequence
from pathlib import Path

from ebm_cli.api.call import guest, run_verb
from ebm_cli.api.run import Report, Run
from ebm_cli.quoting import override


def train(*overrides: str, quiet: bool = False) -> Run:
    """Train one model, as `ebm train` does: `train("method=nce", "dataset=moons", "steps=500")`.

    The run is written to a directory like that of the command, and can be resumed, compared and loaded like it. A run
    that is finished already (`hydra.run.dir=…`, `checkpoint=…`) is returned as it is.

    Args:
        overrides: groups and keys as they are typed behind `ebm train`, without the quotes of a shell.
        quiet: print nothing.

    Raises:
        UserError: a mistake in the overrides or the data; the message is the line that the command prints.
        Diverged: training diverged.
        NotTrustworthy: the run finished, and its results are not to be trusted; a note names its directory.
        KeyboardInterrupt: it was interrupted: a checkpoint is written, and a note names the directory.

    Cost: that of the run. Calls from several threads take turns. State of the process (logging, folder, random states,
    threads, Hydra) is put back at the end.
    """
    with guest("train", overrides):
        path = run_verb("train", overrides, quiet)
    return Run(path)


def evaluate(run: str | Path | Run, *overrides: str, quiet: bool = False) -> Report:
    """Measure a trained model against its data, as `ebm evaluate` does: `evaluate(run, "metrics=[density]")`.

    Args:
        run: a run, its directory or a checkpoint file.
        overrides: groups and keys as they are typed behind `ebm evaluate`.
        quiet: print nothing.

    Raises:
        UserError, NotTrustworthy: as `train`.
    """
    words: Sequence[str] = (override("checkpoint", path_of(run)), *overrides)
    with guest("evaluate", words):
        path = run_verb("evaluate", words, quiet)
    return Report(path)


def path_of(run: str | Path | Run) -> Path:
    """The directory or file that a run, or its name, stands for."""
    return run.path if isinstance(run, Run) else Path(run)
