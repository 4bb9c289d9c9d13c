"""Memory: the limit for one array, its text, and the C library's treatment of freed blocks."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest
import torch

from ebm_cli.evaluation.result_list import RESULTS
from ebm_cli.system import memory
from ebm_cli.system.memory import format_bytes, keep_freed_memory, max_array_bytes, peak_memory_mb, reset_peak_memory


def test_one_array_may_have_half_of_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path / "memory.max")
    whole = max_array_bytes()
    assert 2 * whole == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for text, expected in [("max\n", whole), ("1000\n", 500), (f"{10**18}\n", whole)]:
        (tmp_path / "memory.max").write_text(text)
        assert max_array_bytes() == expected


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(7, "7 bytes"), (1500, "1.5 kB"), (31_000_000, "31.0 MB"), (4 * 10**10, "40.0 GB"), (10**16, "10000.0 TB")],
)
def test_bytes_are_formatted_in_powers_of_1000(n_bytes: int, text: str) -> None:
    assert format_bytes(n_bytes) == text


def test_glibc_accepts_both_thresholds() -> None:
    """mallopt returns 0 for a value out of its range."""
    assert keep_freed_memory() is hasattr(ctypes.CDLL(None), "mallopt")


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()


def test_megabytes_are_a_million_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the label of the result says; the kB of the system are 1024 bytes."""
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  500000 kB\n")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 10**9)
    assert peak_memory_mb(torch.device("cpu")) == 512.0
    assert peak_memory_mb(torch.device("cuda")) == 3000.0
    assert [one.unit for one in RESULTS if one.key == "cost/peak_memory_mb"] == ["MB"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system keeps one peak a process")
def test_peak_memory_is_counted_from_its_reset() -> None:
    cpu = torch.device("cpu")
    reset_peak_memory(cpu)
    before = peak_memory_mb(cpu)
    # Not a tensor: an allocator may keep what is freed, and then the process does hold it.
    with mmap.mmap(-1, 100 << 20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        with_block = peak_memory_mb(cpu)
    assert with_block > before + 80
    reset_peak_memory(cpu)
    assert peak_memory_mb(cpu) < with_block - 50
