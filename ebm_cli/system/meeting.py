"""A place where the processes of a run meet that something else has started.

The first process, or torchrun for it, keeps a small table that all reach through TCP. Each process writes there who it
is, and that it lives (`signs_of_life`). Processes of the same machine or of others are the same here.
"""

import json
import os
import socket
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore

from ebm_cli.errors import ProcessLost, UserError
from ebm_cli.system.launched import WORD, Place
from ebm_cli.system.signs_of_life import SignsOfLife

JOINING = 600.0
"""Seconds that the processes may take to find one another."""

_here: list["Meeting"] = []
"""The meeting of this process: it begins before Hydra, which knows nothing of it, and the run takes part in it."""


class Meeting:
    """This process's part in the meeting; a context.

    Args:
        place: of this process.

    Attributes:
        store: the table.
        life: the signs of life of this process and of the others.

    Raises:
        UserError: the place where all meet cannot be opened, or the first process does not come.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._base = _open(place)
        self.store: Store = PrefixStore(place.name, self._base)
        again = self._base.clone()  # type: ignore[attr-defined]  # torch does not declare it
        self.life = SignsOfLife(place, PrefixStore(place.name, again))

    def __enter__(self) -> "Meeting":
        me = {"host": socket.gethostname(), "pid": os.getpid(), "size": self.place.size}
        if self.store.add(f"here/{self.place.index}", 1) > 1:
            raise UserError(f"{WORD}: two processes say that they are rank {self.place.index}")
        self.say(f"who/{self.place.index}", me)
        self.life.begin()
        _here.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.remove(self)
        self.life.stop()

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
            if self.life.lost is not None:
                raise ProcessLost(self.life.lost)
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
