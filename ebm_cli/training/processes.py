"""The processes of a run, or of an evaluation, on one machine (`parallel.ranks=N`).

The command is the first of them, and starts and ends the others.

They find one another in a private folder, so that two runs never meet, and speak over the loopback device. The others
ignore signals: the first one decides when training ends. They end with it, also if it is killed (`training.rank`).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.errors import ProcessLost
from ebm_cli.system.device import device_of
from ebm_cli.system.meeting import meeting
from ebm_cli.system.ranks import ONE, Ranks
from ebm_cli.training.launched import Work, lead

LOST_ANOTHER = 75
"""Exit code of a process that ended because another one did."""
FAREWELL = 10.0
"""Seconds that the others have to end after the run has."""
AUTOPSY = 5.0
"""Seconds in which a process that has closed its connections is seen to end."""


@contextmanager
def ranks_of(cfg: DictConfig, run: Path, work: Work = "train") -> Iterator[Ranks]:
    """The processes that train a run, or evaluate one, from this one, the first; they end with the block.

    Args:
        cfg: of the verb, as all processes build what it names.
        run: directory that the first one writes to.
        work: what they do.

    Raises:
        ProcessLost: one of them died.
    """
    launched = meeting()
    if launched is not None:
        with closing(lead(launched, cfg, run, work)) as ranks:
            yield ranks
        return
    if cfg.parallel.ranks == 1:
        yield ONE
        return
    with Crew(cfg, run, cfg.parallel.ranks, work) as crew:
        yield crew.ranks()


class Crew:
    """The other processes of a run, which are started in a block and killed at its end, if they have not ended then.

    Args:
        cfg, run, work: as for `ranks_of`.
        size: all processes, ≥ 2.
    """

    def __init__(self, cfg: DictConfig, run: Path, size: int, work: Work = "train") -> None:
        self._cfg, self._run, self._size, self._work = cfg, run, size, work
        self._folder = Path(tempfile.mkdtemp(prefix="ebm-ranks-"))
        self._others: list[subprocess.Popen[bytes]] = []
        self._before: Any = None
        self._group: Ranks = ONE

    def ranks(self) -> Ranks:
        """Wait for the others, and join them.

        Raises:
            ProcessLost: one of them died before it was ready.
        """
        # Nothing interrupts torch's own waiting.
        while any(process.poll() is None and not ready.exists() for process, ready in self._awaited()):
            time.sleep(0.02)
        if not all(ready.exists() for _, ready in self._awaited()):
            raise ProcessLost(self._explain("it ended"))
        self._group = join(self._cfg, 0, self._size, self._folder / "store", self._explain)
        return self._group

    def __enter__(self) -> "Crew":
        for index in range(1, self._size):
            self._others.append(self._start(index))
        try:
            self._before = signal.signal(signal.SIGCHLD, self._handle)
        except ValueError:
            # Not in the main thread: a death is seen when the next message is due.
            self._before = None
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGCHLD, self._before)
        deadline = time.monotonic() + (FAREWELL if error is None else 0)
        for process in self._others:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._group.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _awaited(self) -> list[tuple["subprocess.Popen[bytes]", Path]]:
        """The others, each with the file that it makes when it is ready to join."""
        return [(other, ready_file(self._folder / "store", index)) for index, other in enumerate(self._others, start=1)]

    def _start(self, index: int) -> "subprocess.Popen[bytes]":
        # YAML keeps keys that are numbers.
        task = {
            "config": OmegaConf.to_yaml(self._cfg, resolve=True),
            "run": str(self._run),
            "work": self._work,
            "index": index,
            "size": self._size,
        }
        task |= {"store": str(self._folder / "store")}
        paths = os.pathsep.join(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))
        with (self._folder / f"{index}.err").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "ebm_cli.training.rank"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Signals to the command's group, such as Ctrl-C, are for the first process.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        return process

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """End the run at once if one of its processes has died, also while this one evaluates."""
        if any(process.poll() for process in self._others):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            raise ProcessLost(self._explain("it ended"))

    def _explain(self, reason: str) -> str:
        """Sentence on the process that is lost."""
        deadline = time.monotonic() + AUTOPSY
        while time.monotonic() < deadline and not any(process.poll() for process in self._others):
            time.sleep(0.05)
        ended = [(index, process.poll()) for index, process in enumerate(self._others, start=1) if process.poll()]
        # One that was killed, or failed by itself, before those that only lost it.
        ended.sort(key=lambda pair: pair[1] == LOST_ANOTHER)
        if not ended:
            return f"the {self._size} processes of the run have lost one another ({reason})"
        index, code = ended[0]
        if code is not None and code < 0:
            what = f"was killed by {signal.Signals(-code).name}"
        else:
            lines = (self._folder / f"{index}.err").read_text(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
            what = f"failed: {last}"
        return f"rank {index} of the {self._size} processes, counted from 0, {what}"


def ready_file(store: Path, index: int) -> Path:
    """The file that a process makes before it joins."""
    return store.with_name(f"{index}.ready")


def join(cfg: DictConfig, index: int, size: int, store: Path, explain: Callable[[str], str] = str) -> Ranks:
    """Join the processes of a run on this machine, and wait until all have."""
    # A run of one process does without it.
    from ebm_cli.system.process_group import ProcessGroup

    device = device_of(cfg.device)
    if device.type == "cuda":
        torch.cuda.set_device(index % torch.cuda.device_count())
    return ProcessGroup.here(index, size, store, device, explain)
