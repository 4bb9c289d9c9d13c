"""Ten default runs two at a time, against the same one after the other: `python -m tests.benchmarks.jobs`.

Both are timed from the shell's side, with everything that they do: `ebm train -m seed=range(10)`, without a terminal,
and the same with `jobs=2`. The commands alternate, `--rounds` times, so that whatever else the machine does falls on
both. Target: on two cores at most 0.6 of the serial time. The numbers of both sweeps must be the same.

A machine that does other work does not give two processes twice the time of one: the cores that each sweep had are
printed, and the ratio by their seconds, that of the first process and half of the workers'.

    python -m tests.benchmarks.jobs                          # the real thing: some four minutes on two cores
    python -m tests.benchmarks.jobs --seeds 4 steps=200      # with other words for `ebm train`
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ebm_cli.cli.sweep_cores import n_cores

TARGET = 0.6
SAME = "eval/"
"""Beginning of the results that do not depend on the time a run took."""


class Spent(NamedTuple):
    """Seconds of a sweep: by the clock, of the cores by all of its processes, and of the cores by the first."""

    clock: float
    cores: float
    first: float

    def __str__(self) -> str:
        return f"{self.clock:.1f} s, {self.cores / self.clock:.2f} cores"


def sweep(words: list[str], folder: Path) -> Spent:
    """Run a sweep in a new folder.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "ebm_cli", "train", "-m", *words, f"hydra.sweep.dir={folder}"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ran:
        os.waitid(os.P_PID, ran.pid, os.WEXITED | os.WNOWAIT)
        took = time.perf_counter() - began
        # The times of a process, and those of its children that have ended, stay until it is waited for.
        ticks = [int(field) for field in Path(f"/proc/{ran.pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    if ran.returncode:
        raise RuntimeError(f"exit code {ran.returncode}")
    own, children = (sum(pair) / os.sysconf("SC_CLK_TCK") for pair in (ticks[:2], ticks[2:]))
    return Spent(took, own + children, own)


def numbers(folder: Path) -> list[dict[str, object]]:
    """The results of each job of a sweep."""
    found = sorted(folder.glob("*/results.json"), key=lambda path: int(path.parent.name))
    return [{k: v for k, v in json.loads(path.read_text()).items() if k.startswith(SAME)} for path in found]


def main() -> None:
    """Print seconds and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.jobs")
    parser.add_argument("--seeds", type=int, default=10, help="runs, by default 10")
    parser.add_argument("--jobs", type=int, default=2, help="at a time, by default 2")
    parser.add_argument("--rounds", type=int, default=1, help="sweeps of each kind, by default 1")
    parser.add_argument("words", nargs="*", help="others for ebm train, such as steps=200")
    typed = parser.parse_args()
    words = [f"seed=range({typed.seeds})", *typed.words]
    spent: dict[str, list[Spent]] = {"serial": [], "at a time": []}
    with tempfile.TemporaryDirectory() as name:
        for i in range(typed.rounds):
            for kind, more in (("serial", []), ("at a time", [f"jobs={typed.jobs}"])):
                spent[kind].append(sweep([*words, *more], Path(name, f"{i}-{kind[0]}")))
                print(f"{kind}: {spent[kind][-1]}", flush=True)
            same = numbers(Path(name, f"{i}-s")) == numbers(Path(name, f"{i}-a"))
            print("the same numbers" if same else "OTHER NUMBERS", flush=True)
    serial, at_a_time = (statistics.median(one.clock for one in found) for found in spent.values())
    print(f"{n_cores()} cores (load {os.getloadavg()[0]:.1f} at the end), {' '.join(words)}")
    print(f"serial {serial:.1f} s, jobs={typed.jobs} {at_a_time:.1f} s: {at_a_time / serial:.2f} (target {TARGET})")
    one, other = spent["serial"][-1], spent["at a time"][-1]
    free = other.first + (other.cores - other.first) / typed.jobs
    print(f"by the seconds of the cores, as on a machine without other work: {free / one.cores:.2f}")


if __name__ == "__main__":
    main()
