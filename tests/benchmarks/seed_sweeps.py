"""Whole commands that train the same seeds, against each other: `python -m tests.benchmarks.seed_sweeps`.

    python -m tests.benchmarks.seed_sweeps [--seeds 8] [--methods nce,cd] [--ways replicas,jobs] [overrides …]

`replicas=R` (one process, one network), `jobs=2` (processes of ours), `hydra/launcher=joblib` with two processes, and
one run after the other; moons, `energy=mlp` as shipped, on all cores that the process may use. A time is that of the
whole command: imports, training, evaluation, files. Every way must leave R finished runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "replicas": ["replicas={n}"],
    "jobs": ["-m", "seed=range({n})", "jobs=2"],
    "joblib": ["-m", "seed=range({n})", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "serial": ["-m", "seed=range({n})"],
}
COMMON = ("energy=mlp", "dataset=moons")


def seconds_of(way: str, method: str, n: int, words: list[str]) -> tuple[float, float, float]:
    """Wall seconds of a command, and those of the training and of the evaluations of its first run."""
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
        first = json.loads(results[0].read_text())
        return wall, float(first["cost/seconds"]), float(first["cost/eval_seconds"])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--methods", default="nce,cd")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("words", nargs="*", help="overrides of all runs, for instance steps=500")
    given = parser.parse_args()
    print("method  way       command, s  first run: training, s  evaluation, s", flush=True)
    for method in given.methods.split(","):
        for way in given.ways.split(","):
            wall, training, evaluation = seconds_of(way, method, given.seeds, given.words)
            print(f"{method:6}  {way:8}  {wall:10.1f}  {training:22.1f}  {evaluation:13.1f}", flush=True)


if __name__ == "__main__":
    main()
