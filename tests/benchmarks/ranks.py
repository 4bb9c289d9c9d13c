"""`python -m tests.benchmarks.ranks [CASE ...]`: whole runs of `ebm train` on one process and on two.

Each case is trained on one process, on two that share the rows of a step (strong scaling), and on two with the rows
of one each (weak scaling); a line says how many times as many rows a second two processes take. Seconds are
`cost/seconds` of results.json, those of training alone: no start, no evaluation. One thread a process. The fastest of
`ROUNDS` runs counts. Both cores have to be free for what is measured.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROUNDS = 2
COMMON = ("threads=1", "compile=never", "device=cpu", "metrics=[score]", "eval.n_samples=10", "eval_every=null")
COMMON += ("checkpoint_every=null", "log_every=1000000", "ema=0.999")


class Case(NamedTuple):
    """A run: its words, the rows of a step, and its steps."""

    words: tuple[str, ...]
    batch_size: int
    steps: int


CASES = {
    "nce-128": Case(("method=nce", "energy.width=128"), 256, 1000),
    "nce-1024": Case(("method=nce", "energy.width=1024"), 256, 20),
    "cd-100": Case(("method=cd", "method.k=100", "energy.width=128"), 256, 30),
    "sm-784": Case(("method=sm", "dataset=gaussian", "dataset.density.dim=784", "energy.width=128"), 128, 20),
}


def seconds(case: Case, ranks: int, batch_size: int) -> float:
    """Seconds of training of the fastest run."""
    return min(_seconds(case, ranks, batch_size) for _ in range(ROUNDS))


def _seconds(case: Case, ranks: int, batch_size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [*case.words, *COMMON, f"batch_size={batch_size}", f"steps={case.steps}", f"parallel.ranks={ranks}"]
        command = [sys.executable, "-m", "ebm_cli", "train", *words, f"hydra.run.dir={folder}/run"]
        ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        # 4: finished, and so short that its model is worth nothing.
        if ran.returncode not in (0, 4):
            raise RuntimeError(ran.stderr)
        results = json.loads(Path(folder, "run", "results.json").read_text(encoding="utf-8"))
        return float(results["cost/seconds"])


def main(names: Sequence[str]) -> None:
    """Measure cases, all by default, and print a line for each."""
    print("| run | rows | one process | two share the rows | two with as many each | strong | weak |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names or CASES:
        case = CASES[name]
        n = case.batch_size
        one, strong, weak = (
            1e3 * seconds(case, ranks, rows) / case.steps for ranks, rows in ((1, n), (2, n), (2, 2 * n))
        )
        print(
            f"| {' '.join(case.words)} | {n} | {one:.3g} ms | {strong:.3g} ms | {weak:.3g} ms "
            f"| {one / strong:.2f} | {2 * one / weak:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
