"""`python -m tests.benchmarks`: measure rows, one process each, and draw the page.

    python -m tests.benchmarks [only=sm,ssm-100] [quick=1] [resume=1] [threads=2] [seconds=60]

only: families or rows, by name; all of them otherwise. quick: fewer rounds. resume: leave out what is already measured
in full. seconds: of a row. `python -m tests.benchmarks list` names the rows, `… render` draws the page again.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from . import record, render
from .harness import Effort, Row, stored

FAMILIES = {
    "sm": "score_matching",
    "ssm": "score_matching",
    "ula": "chains",
    "mala": "chains",
    "hmc": "chains",
    "cd": "contrastive",
    "pcd": "contrastive",
    "nce": "noise_contrastive",
    "fce": "flow_contrastive",
    "startup": "startup",
    "memory": "memory",
    "kl": "whole",
    "scaling": "scaling",
}
"""Family of rows → the module that has it, in the order of the page."""


def main(words: Sequence[str]) -> int:
    if words == ["list"]:
        for row in rows():
            print(f"{row.name:24} {row.title}")
        return 0
    if words == ["render"]:
        render.render()
        return 0
    options = dict(word.split("=", 1) for word in words)
    wrong = set(options) - {"only", "quick", "resume", "threads", "seconds", "row"}
    if wrong:
        print(__doc__, file=sys.stderr)
        return 2
    return _one(options) if "row" in options else _all(options)


def rows(only: str = "") -> Iterator[Row]:
    """All rows, family by family; or those of one family."""
    for family, module in FAMILIES.items():
        if only and family != only:
            continue
        found = importlib.import_module(f".{module}", __package__).rows()
        yield from (row for row in found if row.family == family)


def _all(options: dict[str, str]) -> int:
    wanted = [name for name in options.get("only", "").split(",") if name]
    chosen = [row for row in rows() if not wanted or row.name in wanted or row.family in wanted]
    unknown = set(wanted) - {row.name for row in chosen} - {row.family for row in chosen}
    if unknown:
        print(f"only={','.join(sorted(unknown))}: no such row or family; `list` names them", file=sys.stderr)
        return 2
    if options.get("resume"):
        done = {name for name, row in record.read()["rows"].items() if not row["quick"]}
        chosen = [row for row in chosen if row.name not in done]
    threads = options.get("threads", "2")
    failed = []
    for row in chosen:
        print(f"{datetime.now(UTC):%H:%M:%S} {row.name}: {row.title}", flush=True)
        passed_on = [f"{key}={value}" for key, value in options.items() if key not in ("only", "resume")]
        ran = subprocess.run([sys.executable, "-m", __package__, f"row={row.name}", *passed_on], env=_env(threads))
        if ran.returncode:
            failed.append(row.name)
    render.render()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _env(threads: str) -> dict[str, str]:
    """The same number of threads for everything: OpenMP's for torch, the pool of XLA for JAX.

    And bytecode is kept, as it is where a program is installed: `ebm` starts many times in a row.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NPROC": threads,
        "PJRT_NPROC": threads,
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _one(options: dict[str, str]) -> int:
    threads = int(options.get("threads", "2"))
    if hasattr(os, "sched_setaffinity"):
        # What is not told by a variable counts the processors that it may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    quick = options.get("quick", "0") not in ("", "0")
    effort = Effort.quick() if quick else Effort()
    if "seconds" in options:
        effort = replace(effort, seconds=float(options["seconds"]))
    row = next(row for row in rows(options["row"].partition("-")[0]) if row.name == options["row"])
    try:
        found = row.measure(effort)
    except Exception:
        traceback.print_exc()
        return 1
    measured = stored(row, found) | {"quick": quick, "threads": threads}
    record.write(row.name, measured)
    print(json.dumps({f"{r['of']} / {r['to']}": r["median"] for r in measured["ratios"]}))
    for fact in measured["facts"]:
        print(f"  {fact['what']}: {fact['number']} {fact['unit']}")
    for curve in measured["curves"]:
        print(f"  {curve['what']} ∝ {curve['x_name']}^{curve['slope']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
