"""Whole commands that train the same seeds, against each other: `python -m tests.benchmarks.seed_sweeps`.

    python -m tests.benchmarks.seed_sweeps [--seeds 8] [--methods nce,cd] [--ways replicas,jobs] [overrides …]

`replicas=R jobs=2` (one network, evaluated in two processes), `jobs=2` (processes of ours), `replicas=R` (one network,
one process), `hydra/launcher=joblib` with two processes, and one run after the other; moons, `energy=mlp` as shipped,
on all cores that the process may use. A time is that of the whole command: imports, training, evaluation, files. The
ways are taken in turn, `--rounds` times, and the fastest round of each counts, so that another program falls on all of
them. Every way must leave R finished runs, and those of the two kinds of replicas must have the same results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

WAYS = {
    "replicas+jobs": ["replicas={n}", "jobs=2"],
    "replicas": ["replicas={n}"],
    "jobs": ["-m", "seed=range({n})", "jobs=2"],
    "joblib": ["-m", "seed=range({n})", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "serial": ["-m", "seed=range({n})"],
}
COMMON = ("energy=mlp", "dataset=moons")


class Timed(NamedTuple):
    """Wall seconds of a command, those of the training and of the evaluation of its first run, and the KL of each."""

    wall: float
    training: float
    evaluation: float
    kl: tuple[float, ...]


def seconds_of(way: str, method: str, n: int, words: list[str]) -> Timed:
    """Time one command."""
    with tempfile.TemporaryDirectory() as folder:
        own = [word.format(n=n) for word in WAYS[way]]
        command = [*own, f"method={method}", *COMMON, *words, f"hydra.sweep.dir={folder}/runs"]
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        began = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-m", "ebm_cli", "train", *command],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        wall = time.perf_counter() - began
        results = sorted(Path(folder, "runs").glob("*/results.json"))
        # Exit code 4: finished, with results that are not to be trusted, which short runs have.
        if ran.returncode not in (0, 4) or len(results) != n:
            raise RuntimeError(f"ebm train {' '.join(command)}: exit code {ran.returncode}\n{ran.stderr[-2000:]}")
        found = [json.loads(path.read_text()) for path in results]
        kl = tuple(float(each["eval/kl"]) for each in found)
        return Timed(wall, float(found[0]["cost/seconds"]), float(found[0]["cost/eval_seconds"]), kl)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--methods", default="nce,cd")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("words", nargs="*", help="overrides of all runs, for instance steps=500")
    given = parser.parse_args()
    ways = given.ways.split(",")
    print("method  way            command, s  first run: training, s  evaluation, s", flush=True)
    for method in given.methods.split(","):
        rounds = [{way: seconds_of(way, method, given.seeds, given.words) for way in ways} for _ in range(given.rounds)]
        best = {way: min((each[way] for each in rounds), key=lambda timed: timed.wall) for way in ways}
        if {"replicas", "replicas+jobs"} <= best.keys() and best["replicas"].kl != best["replicas+jobs"].kl:
            raise RuntimeError(f"{method}: replicas have other results with jobs=2")
        for way, (wall, training, evaluation, _) in best.items():
            print(f"{method:6}  {way:13}  {wall:10.1f}  {training:22.1f}  {evaluation:13.1f}", flush=True)


if __name__ == "__main__":
    main()
