"""The library of `chains.cpp` and `values.cpp`: built by the C++ compiler on first use, cached, and loaded.

It lies in torch's cache of extensions, under a name that changes with the source, the flags and the CPU:
`-march=native` is right for the machine that compiles, and other machines may share a home directory. It is built in a
temporary folder and then renamed into place, so that two processes that start together, or one that is killed, leave a
complete library or none.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from ebm_cli.system.cpu_info import read_cpuinfo

SOURCES = tuple(Path(__file__).with_name(name) for name in ("chains.cpp", "values.cpp"))
HEADERS = (Path(__file__).with_name("vectors.h"),)
FLAGS = ("-std=c++17", "-O3", "-march=native", "-pthread", "-ffp-contract=fast", "-fno-math-errno", "-fPIC")
"""Without -ffast-math: the code tests proposals for non-finite numbers."""
OPENMP = "-fopenmp"
"""Used where the compiler has it. Under Linux, gcc's OpenMP shares the pool of threads that torch has."""
PATIENCE = 120
"""Seconds after which a compiler is given up; it takes two to four."""


class LibraryUnavailable(Exception):
    """Reason why there is no library, as a clause."""


def missing_compiler() -> str | None:
    """None if there is a C++ compiler, the one of the environment's CXX or c++; else a clause that names it."""
    compiler = _compiler()[0]
    return f"no C++ compiler ({compiler}) is installed" if shutil.which(compiler) is None else None


def load_library() -> ctypes.CDLL:
    """The library, from the cache if it was built before.

    Raises:
        LibraryUnavailable: no compiler, or a failed build.

    Cost: milliseconds; seconds where it must be compiled. A process tries once.
    """
    found = _library_or_reason()
    if isinstance(found, str):
        raise LibraryUnavailable(found)
    return found


@cache
def _library_or_reason() -> ctypes.CDLL | str:
    name = f"ebm_native_{_key()}"
    try:
        path = _cache_folder() / name / f"{name}.so"
        if not path.is_file():
            _build(path)
    except LibraryUnavailable as why:
        return str(why)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # Path.home() raises RuntimeError
        return f"the build failed ({_compiler_error(error)})"
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        return f"the library {path} does not load ({error})"
    loaded.ebm_start.restype = ctypes.c_void_p
    loaded.ebm_values_memory.restype = ctypes.c_int64
    return loaded


def _compiler() -> list[str]:
    """The command of the compiler, which may have words of its own: CXX="ccache g++"."""
    return shlex.split(os.environ.get("CXX", "")) or ["c++"]


def _key() -> str:
    sources = [path.read_bytes() for path in (*SOURCES, *HEADERS)]
    parts = [*sources, " ".join((*FLAGS, OPENMP)).encode(), _processor().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> str:
    """The properties of this machine that `-march=native` depends on."""
    named = [line for line in read_cpuinfo() if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join([sys.platform, platform.machine(), platform.processor(), *named])


def _cache_folder() -> Path:
    """torch's cache of extensions, without importing `torch.utils.cpp_extension`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(home, "torch_extensions"))


def _build(path: Path) -> None:
    why = missing_compiler()
    if why is not None:
        raise LibraryUnavailable(why)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        try:
            _compile([*FLAGS, OPENMP], made)
        except subprocess.CalledProcessError:
            _compile([*FLAGS], made)
        made.replace(path)


def _compile(flags: list[str], made: Path) -> None:
    """Compile the sources at the same time, and link them."""
    objects = [made.with_name(f"{source.stem}.o") for source in SOURCES]
    with ThreadPoolExecutor(len(SOURCES)) as pool:
        found = [
            pool.submit(_run, flags, "-c", str(source), "-o", str(to))
            for source, to in zip(SOURCES, objects, strict=True)
        ]
    for each in found:
        each.result()
    _run(flags, "-shared", *map(str, objects), "-o", str(made))


def _run(flags: list[str], *words: str) -> None:
    subprocess.run(
        [*_compiler(), *flags, *words],
        check=True,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )


def _compiler_error(error: Exception) -> str:
    """The first line with an error of the compiler, else the last line that it wrote, else what happened."""
    said = str(error)
    if isinstance(error, subprocess.TimeoutExpired):
        said = f"the compiler took more than {PATIENCE} s"
    elif isinstance(error, subprocess.CalledProcessError):
        said = str(error.stderr or "").strip() or f"the compiler ended with exit code {error.returncode}"
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[-1])
