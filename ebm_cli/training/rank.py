"""One of the other processes of a run: `python -m ebm_cli.training.rank`, which `training.processes` starts, or
`ebm train parallel.ranks=env`, which something else has started; `ebm evaluate` has them, too.

It reads its task from its standard input, one line of JSON, and works in step with the first process. It writes
nothing but, if it fails, one line on its standard error. The end of its standard input is the end of the first process.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.errors import ProcessLost, UserError, describe
from ebm_cli.runs.directory import UnwrittenDirectory
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.system.launched import Place
from ebm_cli.system.meeting import Meeting
from ebm_cli.system.ranks import Ranks
from ebm_cli.system.signs_of_life import DONE
from ebm_cli.training.build import make_session
from ebm_cli.training.finish import take_part
from ebm_cli.training.guard import Diverged
from ebm_cli.training.launched import ECHO, how_to_continue
from ebm_cli.training.launched import join as join_launched
from ebm_cli.training.measuring import assist
from ebm_cli.training.processes import LOST_ANOTHER, join, ready_file
from ebm_cli.training.steps import alone


def follow(cfg: DictConfig, run: Path, ranks: Ranks, signals: Signals) -> None:
    """Train a run from its start or its checkpoint to its end, in a process that is not its first.

    Raises:
        Diverged, Interrupted: as in all its processes.
        ProcessLost: another one died.
    """
    session = make_session(cfg, UnwrittenDirectory(run), ranks.announce(None), Console(quiet=True), ranks)
    alone(session.train(signals))
    take_part(session)


WORK: Mapping[str, Callable[[DictConfig, Path, Ranks, Signals], None]] = {"train": follow, "evaluate": assist}
"""Work that the first process asks for (`training.launched.Work`) → the function by which another one does it."""


def accompany(place: Place) -> int:
    """Work in step with the first process, where something else has started all of them. Returns the exit code.

    Nothing is printed, unless the first process itself is lost.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    with Meeting(place) as found, Signals(ECHO) as signals:
        code, last, run = 1, DONE, Path()
        try:
            task = found.hear("task", None)
            if "end" in task:
                code = task["end"]
            else:
                cfg = OmegaConf.create(task["config"])
                assert isinstance(cfg, DictConfig)
                run = Path(task["run"])
                with closing(join_launched(found, cfg)) as ranks:
                    WORK[task["work"]](cfg, run, ranks, signals)
                code = 0
        except (Diverged, Interrupted) as end:
            code = end.exit_code
        except ProcessLost:
            if found.life.speaks:
                print(f"ebm: {found.life.lost}{how_to_continue(run)}", file=sys.stderr, flush=True)
        except Exception as error:
            last = f"failed: {error if isinstance(error, UserError) else describe(error)}"
        found.life.leave(code, last)
    return code


def main() -> None:
    """Do the task, and end the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    os._exit(_done(task))


def _done(task: dict[str, Any]) -> int:
    """Do a task; returns the exit code."""
    cfg = OmegaConf.create(task["config"])
    assert isinstance(cfg, DictConfig)
    try:
        ready_file(Path(task["store"]), task["index"]).touch()
        ranks = join(cfg, task["index"], task["size"], Path(task["store"]))
        WORK[task["work"]](cfg, Path(task["run"]), ranks, Signals())
    except (Diverged, KeyboardInterrupt):
        return 0
    except ProcessLost:
        return LOST_ANOTHER
    except Exception as error:
        print(describe(error), file=sys.stderr, flush=True)
        return 1
    return 0


def _end_with_the_first() -> None:
    sys.stdin.read()
    os._exit(LOST_ANOTHER)


if __name__ == "__main__":
    main()
