"""`python -m tests.benchmarks`: measure rows, each in its own process, and render the page.

    python -m tests.benchmarks [only=sm,ssm-100] [quick=1] [resume=1] [threads=2] [seconds=60]

    only: families or rows, by name; by default all.
    quick: fewer rounds.
    resume: skip the rows that have been measured in full.
    seconds: time limit of a row.

`python -m tests.benchmarks list` lists the rows, `python -m tests.benchmarks render` renders the page again.
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
from .harness import Effort, Row, stored_form

FAMILIES = {
    "sm": "score_matching",
    "ssm": "score_matching",
    "ula": "chains",
    "mala": "chains",
    "hmc": "chains",
    "tempering": "chains",
    "cd": "contrastive",
    "pcd": "contrastive",
    "nce": "noise_contrastive",
    "fce": "flow_contrastive",
    "ed": "perturbed_rows",
    "cnce": "perturbed_rows",
    "startup": "startup",
    "memory": "memory",
    "kl": "whole",
    "scaling": "scaling",
}
"""Family of rows → its module, in the order of the page."""


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
    return _measure_row(options) if "row" in options else _measure_rows(options)


def rows(only: str = "") -> Iterator[Row]:
    """All rows, or those of one family."""
    for family, module in FAMILIES.items():
        if only and family != only:
            continue
        found = importlib.import_module(f".{module}", __package__).rows()
        yield from (row for row in found if row.family == family)


def _measure_rows(options: dict[str, str]) -> int:
    wanted = [name for name in options.get("only", "").split(",") if name]
    chosen = [row for row in rows() if not wanted or row.name in wanted or row.family in wanted]
    unknown = set(wanted) - {row.name for row in chosen} - {row.family for row in chosen}
    if unknown:
        print(f"only={','.join(sorted(unknown))}: no such row or family; `list` lists them", file=sys.stderr)
        return 2
    if options.get("resume"):
        done = {name for name, row in record.read_rows()["rows"].items() if not row["quick"]}
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
    """The environment of a row: the same number of threads for torch (OpenMP) and for JAX (the pool of XLA).

    Bytecode is cached, as in an installed program, because `ebm` is started many times.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NPROC": threads,
        "PJRT_NPROC": threads,
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _measure_row(options: dict[str, str]) -> int:
    threads = int(options.get("threads", "2"))
    if hasattr(os, "sched_setaffinity"):
        # Libraries that read no such variable count the processors that they may use.
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
    measured = stored_form(row, found) | {"quick": quick, "threads": threads}
    record.write_row(row.name, measured)
    print(json.dumps({f"{r['of']} / {r['to']}": r["median"] for r in measured["ratios"]}))
    for fact in measured["facts"]:
        print(f"  {fact['what']}: {fact['number']} {fact['unit']}")
    for curve in measured["curves"]:
        print(f"  {curve['what']} ∝ {curve['x_name']}^{curve['slope']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
