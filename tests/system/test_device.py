"""Facts about the devices of a machine."""

from pathlib import Path

import pytest
import torch

from ebm_cli.system.device import deterministic, driver_version


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build", "570.124.06"),
        ("", None),
    ],
)
def test_version_of_the_driver_is_read_from_its_file(line: str, version: str | None, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(f"{line}\nGCC version:  gcc version 11.4.0\n" if line else "")
    assert driver_version(tmp_path / "version") == version
    assert driver_version(tmp_path / "none") is None


def test_deterministic_algorithms_are_for_the_block_only() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
