"""Files that come with an installed package: optional data that need no network."""

from importlib.util import find_spec
from pathlib import Path


class PackageMissing(ValueError):
    """The optional package of a data set, or its file, is not there; the message says what to install."""


def package_file(package: str, name: str, extra: str) -> Path:
    """Find a data file of a package, whose code does not run.

    Args:
        package: its name, as it is imported.
        name: of the file, below the package's folder.
        extra: of `ebm-cli`, which installs the package.

    Raises:
        PackageMissing: there is no such package, or its version has no such file; the message says what to install.
    """
    spec = find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    if not folders:
        raise PackageMissing(f"needs {package}, which is not installed: pip install 'ebm-cli[{extra}]'")
    found = Path(folders[0]) / name
    if not found.is_file():
        raise PackageMissing(f"needs {name}, which this version of {package} lacks: pip install -U 'ebm-cli[{extra}]'")
    return found
