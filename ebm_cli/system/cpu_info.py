"""The CPU as Linux describes it in /proc/cpuinfo."""

from pathlib import Path


def read_cpuinfo() -> list[str]:
    """The lines "name : value" of the first processor; none where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    return text.partition("\n\n")[0].splitlines()


def vendor() -> str:
    """The vendor of the CPU, as GenuineIntel or AuthenticAMD; "" where it cannot be read."""
    found = (line.partition(":")[2].strip() for line in read_cpuinfo() if line.startswith("vendor_id"))
    return next(found, "")
