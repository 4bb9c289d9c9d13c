"""What Linux says of the processor."""

from pathlib import Path


def described() -> list[str]:
    """The lines "name : value" of /proc/cpuinfo on the first processor; none where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    return text.partition("\n\n")[0].splitlines()
