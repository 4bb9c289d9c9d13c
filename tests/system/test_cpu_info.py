"""The CPU as /proc/cpuinfo describes it."""

from pathlib import Path

import pytest

from ebm_cli.system.cpu_info import read_cpuinfo, vendor


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n\nprocessor\t: 1\nvendor_id\t: B\n",
            "GenuineIntel",
        ),
        ("CPU implementer\t: 0x41\n", ""),
    ],
    ids=["x86", "Arm"],
)
def test_vendor_is_that_of_the_first_processor(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert vendor() == name


def test_vendor_is_empty_without_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert read_cpuinfo() == []
    assert vendor() == ""
