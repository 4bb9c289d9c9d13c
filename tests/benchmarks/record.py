"""docs/benchmarks.json: what was measured, row by row, when, and on what."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
FILE = REPO / "docs" / "benchmarks.json"
PACKAGES = ("torch", "torchebm", "ebmkit", "jax", "blackjax", "folx", "normflows", "zuko", "numpy")


def read() -> dict[str, Any]:
    """All rows, by name, and the versions and the processor of the last that was measured."""
    if not FILE.is_file():
        return {"rows": {}}
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def write(name: str, measured: dict[str, Any]) -> None:
    """Put a row in the file, in place of what the file had of it."""
    record = read()
    record |= {"python": platform.python_version(), "versions": _versions(), "processor": processor()}
    record["rows"][name] = measured | {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
        "load": os.getloadavg()[0],
    }
    written = FILE.with_suffix(".part")
    written.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written.replace(FILE)


def processor() -> str:
    """Model and number of cores."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        flags = next((line for line in lines if line.startswith("flags")), "")
        model += " with AVX-512" if "avx512f" in flags else ""
    return f"{model}, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    ran = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    return ran.stdout.strip()
