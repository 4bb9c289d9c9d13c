"""Signs of life: how each process of a run hears if another one dies, and ends.

Each process writes a number in the table where all meet (`meeting`), every second that it lives. The first one watches
the others, and says there which of them is lost; the others watch the first one.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from torch.distributed import Store

from ebm_cli.errors import ProcessLost
from ebm_cli.system.launched import Place

BEAT = 1.0
"""Seconds between two signs of life."""
MISSED = 15
"""Signs that a process may miss. They are counted, not timed: of a job that Slurm has suspended nothing is missed."""
ARRIVAL = 60.0
"""Seconds for which a first process that has failed at once waits for the others, which would wait for it."""
GRACE = 5.0
"""Seconds in which a process ends by itself after another one is lost, or hears of the end of the run."""
DONE = "done"
"""The last sign of a process that has done its part."""
OVER = "the run has ended"
"""Reason of the first process's to end the others, of which it has told the user more."""
SILENT = "does not answer any more"


class SignsOfLife:
    """The signs of this process, and its watch over those of others; in threads of their own.

    Args:
        place: of this process.
        table: where the signs are, by a connection that nothing else uses.

    Attributes:
        lost: sentence on the process that is lost; None while all live.
    """

    def __init__(self, place: Place, table: Store) -> None:
        self.place, self._table = place, table
        self.lost: str | None = None
        self._seen: dict[int, tuple[str, int]] = {}
        self._n, self._dead = 0, 0
        self._before: Any = None
        self._is_over, self._is_heard = threading.Event(), threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def begin(self) -> None:
        """Give the first sign. From here on the main thread may be interrupted by ProcessLost."""
        with suppress(ValueError):  # not in the main thread
            self._before = signal.signal(signal.SIGCHLD, self._interrupt)
        self._heart.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Give no more signs, and watch nothing."""
        self._is_over.set()
        if self._before is not None:
            signal.signal(signal.SIGCHLD, self._before)

    @property
    def speaks(self) -> bool:
        """True for the process that prints what is lost: the first one; where that is lost, the next."""
        return self.place.index == int(self.lost is not None and self.lost.startswith("rank 0 "))

    def explain(self, reason: str) -> str:
        """Sentence on the process that is lost, once another one does not answer: it may take a while to be known."""
        end = time.monotonic() + BEAT * MISSED + GRACE
        while self.lost is None and time.monotonic() < end:
            time.sleep(0.05)
        self._is_heard.set()
        return self.lost or f"the {self.place.size} processes of the run have lost one another ({reason})"

    # --- the threads --------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Give a sign of life, and look for those of others."""
        while not self._is_over.is_set():
            self._n += 1
            try:
                self._table.set(f"beat/{self.place.index}", str(self._n))
                found = self._lost_others() if self.place.index == 0 else self._lost_first()
            except RuntimeError:
                found = self._name(0, SILENT)
            if found is not None:
                self._end(found)
                return
            self._is_over.wait(BEAT)

    def _watch(self) -> None:
        """Notice that the table itself does not answer: its machine has vanished, and no connection was closed."""
        before, n = 0, 0
        while n < MISSED and not self._is_over.wait(BEAT):
            before, n = self._n, n + 1 if self._n == before else 0
        if n == MISSED and self.lost is None:
            self._end(self._name(0, SILENT))

    def _lost_others(self) -> str | None:
        for index in range(1, self.place.size):
            what = self._missing(index)
            if what is not None:
                found = self._describe(index, what)
                self._table.set("lost", found)
                self._dead = index
                return found
        return None

    def _lost_first(self) -> str | None:
        if self._table.check(["lost"]):
            return self._table.get("lost").decode()
        what = self._missing(0)
        return None if what is None else self._describe(0, what)

    def _missing(self, index: int) -> str | None:
        """Why a process is lost; None if it lives, has done its part, or has not come yet."""
        key = f"beat/{index}"
        value = self._table.get(key).decode() if self._table.check([key]) else DONE
        if value == DONE:
            return None
        if not value.isdigit():
            return value
        before, n = self._seen.get(index, ("", 0))
        self._seen[index] = (value, n + 1 if value == before else 0)
        return SILENT if self._seen[index][1] >= MISSED else None

    def _describe(self, index: int, what: str) -> str:
        who = json.loads(self._table.get(f"who/{index}"))
        return f"{self._name(index, what)} (pid {who['pid']} on {who['host']})"

    def _name(self, index: int, what: str) -> str:
        return f"rank {index} of the {self.place.size} processes, counted from 0, {what}"

    # --- the end of this process --------------------------------------------------------------------------------------

    def _end(self, lost: str) -> None:
        """End this process: by an exception in its main thread, or, where that waits within torch, at once."""
        self.lost = lost
        if self._is_over.is_set():
            return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGCHLD)
        if not self._is_heard.wait(GRACE) and not self._is_over.is_set():
            if self.speaks:
                print(f"ebm: {lost}", file=sys.stderr, flush=True)
            os._exit(ProcessLost.exit_code)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.lost is not None and not self._is_heard.is_set():
            self._is_heard.set()
            raise ProcessLost(self.lost)

    def leave(self, code: int, last: str = DONE) -> None:
        """Say that this process ends. The first one waits a little for the others, and ends those that have not ended.

        Args:
            code: exit code of the run.
            last: what became of this process, where that ends the run of the others.
        """
        self._is_over.set()
        self._heart.join(GRACE)
        if self._heart.is_alive():  # it waits for a machine that does not answer, and so would this
            return
        with suppress(RuntimeError):
            self._table.set(f"beat/{self.place.index}", last)
            if self.place.index == 0:
                self._dismiss(code)

    def _dismiss(self, code: int) -> None:
        """End the others that have not ended, as they do by themselves unless the first process has failed."""
        if not self._table.check(["task"]):
            self._table.set("task", json.dumps({"end": code}))
        if self.lost is None and (code == ProcessLost.exit_code or not self._are_gone()):
            self._table.set("lost", OVER)
        self._are_gone()

    def _are_gone(self) -> bool:
        """Wait until the others have ended, also those that are late; False if some have not in time."""
        began = time.monotonic()
        others = [index for index in range(1, self.place.size) if index != self._dead]
        for index in others:
            key = f"beat/{index}"
            while not self._table.check([key]) and not self.place.is_hosted:
                if time.monotonic() > began + ARRIVAL:
                    return False
                time.sleep(0.05)
            arrived = time.monotonic()
            while self._table.check([key]) and self._table.get(key).decode().isdigit():
                if time.monotonic() > arrived + GRACE:
                    return False
                time.sleep(0.05)
        return True
