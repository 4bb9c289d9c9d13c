"""How much memory a run has held, and that it holds on to what it will need again."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def max_array_bytes() -> int:
    """Bytes that one array may have: half of the machine's memory, or of what a container may use of it.

    The other half is for the copy that is made when numbers change their kind.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # not in a container, or in one without a limit ("max")
        memory = min(memory, int(CONTAINER.read_text()))
    return memory // 2


def format_bytes(n_bytes: int) -> str:
    """A number of bytes for a reader: 13.4 GB."""
    power = next((k for k in (4, 3, 2, 1) if n_bytes >= 1000**k), 0)
    return f"{n_bytes / 1000**power:.{min(power, 1)}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def keep_freed_memory() -> bool:
    """Let the C library keep blocks of up to 32 MB that were freed; whether it can be told so.

    glibc gives them back to the system and asks for them again at every step, whose pages are then cleared anew: a step
    of exact score matching in 10 to 100 dimensions takes 10 to 17 % less without that. 32 MB is the most it takes.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    mmap_threshold, trim_threshold = -3, -1  # malloc.h
    return bool(tell(mmap_threshold, 32 * 2**20) and tell(trim_threshold, 2**31 - 1))


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new peak, so that a job of a sweep does not inherit that of the jobs before it.

    Only where the system allows it (a device of its own memory; Linux): elsewhere the peak is the process's.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        CLEAR.write_text("5")  # proc(5): resets VmHWM


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held since `reset_peak_memory`: the device's where it has its own, else resident; megabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        lines = (line.split() for line in STATUS.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
