"""Memory: the limit for one array, the peak of a run, and glibc's treatment of freed blocks."""

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
    """Bytes that one array may have: half of the machine's memory, or of its container's limit.

    The other half is for the copy that a conversion to another dtype makes.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # not in a container, or in one without a limit ("max")
        memory = min(memory, int(CONTAINER.read_text()))
    return memory // 2


def format_bytes(n_bytes: int) -> str:
    """A number of bytes as a text for users: 13.4 GB."""
    power = next((k for k in (4, 3, 2, 1) if n_bytes >= 1000**k), 0)
    return f"{n_bytes / 1000**power:.{min(power, 1)}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def keep_freed_memory() -> bool:
    """Make the C library keep freed blocks of up to 32 MB; returns whether it could be set.

    By default glibc returns them to the system and requests them again at every step, and their pages are then cleared
    anew: a step of exact score matching in 10 to 100 dimensions takes 10 to 17 % less time without that. 32 MB is the
    largest threshold that glibc accepts.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    mmap_threshold, trim_threshold = -3, -1  # malloc.h
    return bool(mallopt(mmap_threshold, 32 * 2**20) and mallopt(trim_threshold, 2**31 - 1))


def release_freed_memory() -> bool:
    """Return freed blocks to the system, so that a peak is that of what follows; returns whether it was possible."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):  # another C library
        return False


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of the peak, so that a job of a sweep does not inherit that of the jobs before it.

    Only where the system allows it (a GPU; Linux): elsewhere the peak is that of the whole process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        CLEAR.write_text("5")  # proc(5): resets VmHWM


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory since `reset_peak_memory`: allocated on the GPU, else resident memory of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError):
        lines = (line.split() for line in STATUS.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") * 2**10  # "kB" there is 1024 bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


def peak_memory_mb(device: torch.device) -> float:
    """The same in megabytes, 10⁶ bytes, as everywhere where MB is written."""
    return peak_memory_bytes(device) / 10**6
