"""The outcome of a self-test as text to paste into a report: the machine, what was counted, and every row."""

import os
import platform
from collections.abc import Sequence

import torch

from ebm_cli.selftest.harness import Row
from ebm_cli.system.device import driver_version
from ebm_cli.system.versions import versions

GIB = 2**30


def machine(devices: Sequence[torch.device]) -> str:
    """Versions, processor and GPUs in one line."""
    parts = [f"{name} {version}" for name, version in versions().items()]
    parts.append(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    parts += [_gpu(device) for device in devices if device.type == "cuda"]
    return ", ".join(parts)


def _gpu(device: torch.device) -> str:
    """Name, memory and capability of a GPU, its driver, and the version of CUDA that torch was built with."""
    found = torch.cuda.get_device_properties(device)
    driver = driver_version() or "unknown"
    memory = f"{found.total_memory / GIB:.1f} GiB, capability {found.major}.{found.minor}"
    return f"{found.name} ({memory}), driver {driver}, CUDA {torch.version.cuda}"


def summary(rows: Sequence[Row], seconds: float) -> str:
    """Rows of each outcome, and the time."""
    counts = [sum(row.outcome == outcome for row in rows) for outcome in ("ok", "FAILED", "skipped")]
    return f"{counts[0]} ok, {counts[1]} failed, {counts[2]} skipped, in {seconds:.0f} s"


def report(command: str, of_machine: str, found: Sequence[tuple[str, Row]], seconds: float) -> str:
    """Everything on plain lines, those that failed first.

    Args:
        command: that was typed.
        of_machine: `machine`.
        found: subject and row.
        seconds: that all took.
    """
    order = {"FAILED": 0, "ok": 1, "skipped": 2}
    rows = sorted(found, key=lambda pair: order[pair[1].outcome])
    head = [command, of_machine, summary([row for _, row in found], seconds)]
    return "\n".join([*head, *(_line(subject, row) for subject, row in rows)])


def _line(subject: str, row: Row) -> str:
    bound = "" if row.bound is None else f" (at most {row.bound:.2g})"
    number = row.reason if row.number is None else f"{row.number:.3g} {row.unit}{bound}"
    return " | ".join(part for part in (row.outcome, subject, row.name, row.what, number) if part)
