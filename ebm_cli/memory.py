"""How much memory a run has held."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def room() -> int:
    """Bytes that one array may have: half of the machine's memory, or of what a container may use of it.

    The other half is for the copy that is made when numbers change their kind.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # not in a container, or in one without a limit ("max")
        memory = min(memory, int(CONTAINER.read_text()))
    return memory // 2


def in_words(n_bytes: int) -> str:
    """A number of bytes for a reader: 13.4 GB."""
    power = next((k for k in (4, 3, 2, 1) if n_bytes >= 1000**k), 0)
    return f"{n_bytes / 1000**power:.{min(power, 1)}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def forget_peak_memory(device: torch.device) -> None:
    """Begin a new peak, so that a job of a sweep does not inherit that of the jobs before it.

    Only where the system allows it (a device of its own memory; Linux): elsewhere the peak is the process's.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        CLEAR.write_text("5")  # proc(5): resets VmHWM


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held since `forget_peak_memory`: the device's where it has its own, else resident; megabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        lines = (line.split() for line in STATUS.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
