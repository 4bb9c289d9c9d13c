"""The library of `chains.cpp`: built by torch's extension mechanism on first use, cached, and loaded.

It lies in torch's cache of extensions, under a name that changes with the source, the flags and the CPU:
`-march=native` is right for the machine that compiles, and other machines may share a home directory. It is built in a
temporary folder and then renamed into place, so that two processes that start together, or one that is killed, leave a
complete library or none.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ebm_cli.system.cpu_info import read_cpuinfo

SOURCE = Path(__file__).with_name("chains.cpp")
FLAGS = ("-O3", "-march=native", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
"""Without -ffast-math: the code tests proposals for non-finite numbers."""
OPENMP = "-fopenmp"
"""Used where the compiler has it. Under Linux, gcc's OpenMP shares the pool of threads that torch has."""


class LibraryUnavailable(Exception):
    """Reason why there is no library, as a clause."""


@cache
def load_library() -> ctypes.CDLL:
    """The library, from the cache if it was built before.

    Raises:
        LibraryUnavailable: no compiler, no ninja, or a failed build.

    Cost: milliseconds; seconds where it must be compiled.
    """
    name = f"ebm_chains_{_key()}"
    path = _cache_folder() / name / f"{name}.so"
    if not path.is_file():
        _build(name, path)
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryUnavailable(f"the library {path} does not load ({error})") from error
    loaded.ebm_start.restype = ctypes.c_void_p
    return loaded


def _key() -> str:
    parts = [SOURCE.read_bytes(), " ".join((*FLAGS, OPENMP)).encode(), _processor().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> str:
    """The properties of this machine that `-march=native` depends on."""
    named = [line for line in read_cpuinfo() if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join([sys.platform, platform.machine(), platform.processor(), *named])


def _cache_folder() -> Path:
    """torch's cache of extensions, without importing `torch.utils.cpp_extension`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(home, "torch_extensions"))


def _build(name: str, path: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise LibraryUnavailable(f"no C++ compiler ({compiler}) is installed")
    with _ninja_on_path() as found:
        if not found:
            raise LibraryUnavailable("ninja is not installed; run pip install ninja")
        try:
            # A slow import, which needs setuptools: some Pythons do not have it.
            from torch.utils.cpp_extension import load

            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:

                def build_with(flags: list[str]) -> None:
                    load(
                        name, [str(SOURCE)], flags, extra_ldflags=flags, build_directory=folder, is_python_module=False
                    )

                try:
                    build_with([*FLAGS, OPENMP])
                except (RuntimeError, subprocess.SubprocessError):
                    build_with(list(FLAGS))
                # torch adds a number to the name of a second build in one process.
                next(Path(folder).glob("*.so")).replace(path)
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise LibraryUnavailable(f"the build failed ({_compiler_error(error)})") from error


def _compiler_error(error: Exception) -> str:
    """The first line with an error of the compiler, else the last line of the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[-1])


@contextmanager
def _ninja_on_path() -> Iterator[bool]:
    """Inside, `ninja` is also found beside this interpreter: a virtual environment need not be activated to be used."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join((before, str(Path(sys.executable).parent)))
    try:
        yield shutil.which("ninja") is not None
    finally:
        os.environ["PATH"] = before
