"""The C++ source as a loaded library: built when it is first asked for, by torch's extension mechanism, and kept.

The library lies in torch's cache of extensions, under a name that changes with the source, the flags and the processor:
`-march=native` is right for the machine that compiles, and a home directory may be seen by others. It is built in a
folder of its own and then renamed into place, so that two processes that start together, or one that is killed, leave
a whole library or none.
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

from ebm_cli.system.cpu import read_cpuinfo

SOURCE = Path(__file__).with_name("chains.cpp")
FLAGS = ("-O3", "-march=native", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
"""No -ffast-math: a proposal that is not finite must be seen to be so."""
OPENMP = "-fopenmp"
"""Where the compiler has it: of gcc's under Linux, the pool of threads is then the one that torch brings."""


class LibraryUnavailable(Exception):
    """Why there is no library, in one sentence."""


@cache
def load_library() -> ctypes.CDLL:
    """The library, from the cache where it is there.

    Raises:
        LibraryUnavailable: no compiler, no ninja, or a build that failed.

    Cost: seconds where it is compiled, milliseconds where it is not.
    """
    name = f"ebm_chains_{_key()}"
    path = _cache() / name / f"{name}.so"
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
    """What `-march=native` depends on."""
    named = [line for line in read_cpuinfo() if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join([sys.platform, platform.machine(), platform.processor(), *named])


def _cache() -> Path:
    """Where torch keeps extensions, without the import of what builds them."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(home, "torch_extensions"))


def _build(name: str, path: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise LibraryUnavailable(f"there is no C++ compiler ({compiler})")
    with _ninja_on_path() as found:
        if not found:
            raise LibraryUnavailable("there is no ninja, which torch builds with (pip install ninja)")
        try:
            # Slow to import, and on some Pythons setuptools, which it needs, is not there.
            from torch.utils.cpp_extension import load

            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:

                def made_with(flags: list[str]) -> None:
                    load(
                        name, [str(SOURCE)], flags, extra_ldflags=flags, build_directory=folder, is_python_module=False
                    )

                try:
                    made_with([*FLAGS, OPENMP])
                except (RuntimeError, subprocess.SubprocessError):
                    made_with(list(FLAGS))
                # torch numbers what it builds again in one process, after a build that failed.
                next(Path(folder).glob("*.so")).replace(path)
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise LibraryUnavailable(f"their build failed ({_last_line(error)})") from error


def _last_line(error: Exception) -> str:
    """What the compiler complained of, else the last line of the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[-1])


@contextmanager
def _ninja_on_path() -> Iterator[bool]:
    """Inside, `ninja` is found beside this interpreter too: a virtual environment need not be active to be used."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join((before, str(Path(sys.executable).parent)))
    try:
        yield shutil.which("ninja") is not None
    finally:
        os.environ["PATH"] = before
