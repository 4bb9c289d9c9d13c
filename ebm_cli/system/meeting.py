"""A place where the processes of a run meet that something else has started, and where each hears if another one dies.

The first process, or torchrun for it, keeps a small table that all reach through TCP. Each process writes there who it
is, and every second that it lives. The first one watches the others, and says in the table which of them is lost; the
others watch the first one. Processes of the same machine or of others are the same here.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from ebm_cli.errors import ProcessLost, UserError
from ebm_cli.system.launched import WORD, Place

BEAT = 1.0
"""Seconds between two signs of life."""
MISSED = 15
"""Signs that a process may miss. They are counted, not timed: of a job that Slurm has suspended nothing is missed."""
JOINING = 600.0
"""Seconds that the processes may take to find one another."""
ARRIVAL = 60.0
"""Seconds for which a first process that has failed at once waits for the others, which would wait for it."""
GRACE = 5.0
"""Seconds in which a process ends by itself after another one is lost, or hears of the end of the run."""
DONE = "done"
"""The last sign of a process that has done its part."""
OVER = "the run has ended"
"""Reason of the first process's to end the others, of which it has told the user more."""
SILENT = "does not answer any more"

_here: list["Meeting"] = []
"""The meeting of this process: it begins before Hydra, which knows nothing of it, and the run takes part in it."""


class Meeting:
    """This process's part in the meeting; a context.

    Args:
        place: of this process.

    Attributes:
        lost: sentence on the process that is lost; None while all live.

    Raises:
        UserError: the place where all meet cannot be opened, or the first process does not come.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lost: str | None = None
        self._base = _open(place)
        self.store: Store = PrefixStore(place.name, self._base)
        self._beats = PrefixStore(place.name, self._base.clone())  # type: ignore[attr-defined]
        self._seen: dict[int, tuple[str, int]] = {}
        self._n, self._dead = 0, 0
        self._before: Any = None
        self._is_over, self._is_heard = threading.Event(), threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Meeting":
        me = {"host": socket.gethostname(), "pid": os.getpid(), "size": self.place.size}
        if self.store.add(f"here/{self.place.index}", 1) > 1:
            raise UserError(f"{WORD}: two processes say that they are rank {self.place.index}")
        self.say(f"who/{self.place.index}", me)
        with suppress(ValueError):  # not in the main thread
            self._before = signal.signal(signal.SIGCHLD, self._interrupt)
        self._heart.start()
        threading.Thread(target=self._watch, daemon=True).start()
        _here.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.remove(self)
        self._is_over.set()
        if self._before is not None:
            signal.signal(signal.SIGCHLD, self._before)

    def say(self, key: str, value: Any) -> None:
        """Write a plain value in the table."""
        self.store.set(key, json.dumps(value))

    def hear(self, key: str, seconds: float | None = JOINING) -> Any:
        """Wait for a value of the table.

        Args:
            key: of the value.
            seconds: to wait at most; None waits for as long as all live.

        Raises:
            ProcessLost: a process is lost.
            TimeoutError: it did not come.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while not self.store.check([key]):
            if self.lost is not None:
                raise ProcessLost(self.lost)
            if end is not None and time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.05)
        return json.loads(self.store.get(key))

    def everyone(self, key: str) -> list[Any]:
        """Wait for the values that each process writes under KEY/INDEX.

        Raises:
            UserError, ProcessLost: not all of them come.
        """
        found: list[Any] = []
        for index in range(self.place.size):
            try:
                found.append(self.hear(f"{key}/{index}"))
            except TimeoutError:
                raise UserError(
                    f"{WORD}: rank {index} of {self.place.size} did not come within {JOINING / 60:.0f} minutes; start "
                    "as many processes as there are ranks"
                ) from None
        return found

    def explain(self, reason: str) -> str:
        """Sentence on the process that is lost, once another one does not answer: it may take a while to be known."""
        end = time.monotonic() + BEAT * MISSED + GRACE
        while self.lost is None and time.monotonic() < end:
            time.sleep(0.05)
        self._is_heard.set()
        return self.lost or f"the {self.place.size} processes of the run have lost one another ({reason})"

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
            self._beats.set(f"beat/{self.place.index}", last)
            if self.place.index == 0:
                self._dismiss(code)

    def _dismiss(self, code: int) -> None:
        """End the others that have not ended, as they do by themselves unless the first process has failed."""
        if not self._beats.check(["task"]):
            self.say("task", {"end": code})
        if self.lost is None and (code == ProcessLost.exit_code or not self._are_gone()):
            self._beats.set("lost", OVER)
        self._are_gone()

    def _are_gone(self) -> bool:
        """Wait until the others have ended, also those that are late; False if some have not in time."""
        began = time.monotonic()
        others = [index for index in range(1, self.place.size) if index != self._dead]
        for index in others:
            key = f"beat/{index}"
            while not self._beats.check([key]) and not self.place.is_hosted:
                if time.monotonic() > began + ARRIVAL:
                    return False
                time.sleep(0.05)
            arrived = time.monotonic()
            while self._beats.check([key]) and self._beats.get(key).decode().isdigit():
                if time.monotonic() > arrived + GRACE:
                    return False
                time.sleep(0.05)
        return True

    # --- signs of life, in threads of their own -----------------------------------------------------------------------

    def _beat(self) -> None:
        """Give a sign of life, and look for those of others."""
        while not self._is_over.is_set():
            self._n += 1
            try:
                self._beats.set(f"beat/{self.place.index}", str(self._n))
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
                self._beats.set("lost", found)
                self._dead = index
                return found
        return None

    def _lost_first(self) -> str | None:
        if self._beats.check(["lost"]):
            return self._beats.get("lost").decode()
        what = self._missing(0)
        return None if what is None else self._describe(0, what)

    def _missing(self, index: int) -> str | None:
        """Why a process is lost; None if it lives, has done its part, or has not come yet."""
        key = f"beat/{index}"
        value = self._beats.get(key).decode() if self._beats.check([key]) else DONE
        if value == DONE:
            return None
        if not value.isdigit():
            return value
        before, n = self._seen.get(index, ("", 0))
        self._seen[index] = (value, n + 1 if value == before else 0)
        return SILENT if self._seen[index][1] >= MISSED else None

    def _describe(self, index: int, what: str) -> str:
        who = json.loads(self._beats.get(f"who/{index}"))
        return f"{self._name(index, what)} (pid {who['pid']} on {who['host']})"

    def _name(self, index: int, what: str) -> str:
        return f"rank {index} of the {self.place.size} processes, counted from 0, {what}"

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

    @property
    def speaks(self) -> bool:
        """True for the process that prints what is lost: the first one; where that is lost, the next."""
        return self.place.index == int(self.lost is not None and self.lost.startswith("rank 0 "))


def meeting() -> Meeting | None:
    """The meeting that this process takes part in; None if its command asks for none."""
    return _here[-1] if _here else None


def _open(place: Place) -> TCPStore:
    """The table: kept in this process if it is the first, unless the launcher keeps it."""
    keeps = place.index == 0 and not place.is_hosted
    if not keeps:
        _await_port(place)
    try:
        return TCPStore(place.address, place.port, None, keeps, timedelta(seconds=60), wait_for_workers=False)
    except RuntimeError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(
                f"{WORD}: port {place.port} is in use on this machine, by another program or another process that says "
                "that it is rank 0; set MASTER_PORT to a free one, the same for all"
            ) from None
        raise UserError(f"{WORD}: cannot meet the other processes at {place.address}:{place.port}; {_ADVICE}") from None


_ADVICE = "MASTER_ADDR must name the machine of rank 0, and MASTER_PORT a port that its network lets through"


def _await_port(place: Place) -> None:
    """Wait until the first process is there. torch's own waiting hears no signal, and prints its attempts."""
    end = time.monotonic() + JOINING
    while True:
        try:
            socket.create_connection((place.address, place.port), timeout=5).close()
            return
        except socket.gaierror:
            raise UserError(f"{WORD}: no machine has the name {place.address}; {_ADVICE}") from None
        except OSError:
            if time.monotonic() > end:
                minutes = f"{JOINING / 60:.0f} minutes"
                raise UserError(
                    f"{WORD}: rank 0 was not at {place.address}:{place.port} within {minutes}; {_ADVICE}"
                ) from None
            time.sleep(0.1)
