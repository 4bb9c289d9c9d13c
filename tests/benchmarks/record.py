"""docs/benchmarks.json: the measurements of all rows, with their date, versions and processor."""

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


def read_rows() -> dict[str, Any]:
    """All rows by name, and the versions and processor of the last measurement."""
    if not FILE.is_file():
        return {"rows": {}}
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def write_row(name: str, measured: dict[str, Any]) -> None:
    """Write a row to the file, in place of its earlier measurement."""
    record = read_rows()
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
