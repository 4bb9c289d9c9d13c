"""Rows of a user's file: the reader is chosen by the file's suffix, and every number is validated."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ebm_cli.datasets.fingerprint import fingerprint
from ebm_cli.datasets.io.array_rows import array_rows
from ebm_cli.datasets.io.arrays import read_array
from ebm_cli.datasets.io.arrow import read_arrow
from ebm_cli.datasets.io.contents import Contents, FileRows, InvalidFile, Reading, ReadTable
from ebm_cli.datasets.io.excel import read_excel
from ebm_cli.datasets.io.header import DoubtfulHeader
from ebm_cli.datasets.io.table_rows import table_rows
from ebm_cli.datasets.io.tensors import read_tensor
from ebm_cli.datasets.io.text import read_text
from ebm_cli.errors import did_you_mean
from ebm_cli.system.home import expanded

READERS: dict[str, Callable[[Path, Reading], Contents | ReadTable]] = {
    ".npy": read_array,
    ".npz": read_array,
    ".csv": read_text,
    ".tsv": read_text,
    ".txt": read_text,
    ".dat": read_text,
    ".data": read_text,
    ".tab": read_text,
    ".parquet": read_arrow,
    ".feather": read_arrow,
    ".arrow": read_arrow,
    ".xlsx": read_excel,
    ".pt": read_tensor,
}
"""Suffix → reader."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Suffixes that may follow that of a text file: its contents tell how it is compressed."""
SUFFIXES = ", ".join([*READERS][:-1]) + f" or {[*READERS][-1]}"
HINTS = {
    ".xls": "save it as .xlsx or .csv",
    ".ods": "save it as .xlsx or .csv",
    ".json": "pandas.read_json(…).to_csv(…) writes it as .csv",
    ".pkl": "a pickle runs code when it is read; pandas.read_pickle(…).to_parquet(…) writes it as .parquet",
    ".pickle": "a pickle runs code when it is read; pandas.read_pickle(…).to_parquet(…) writes it as .parquet",
    ".h5": "h5py and numpy.save write one of its arrays as .npy",
    ".hdf5": "h5py and numpy.save write one of its arrays as .npy",
    ".mat": "scipy.io.loadmat and numpy.save write one of its arrays as .npy",
    ".rds": "write.csv(…, row.names = FALSE) writes it as .csv in R",
    ".pth": "rename it to .pt",
}
"""Suffix of a file that is not read → what to do."""
FILES = 2
"""Files that are kept after they were read: that of the data set and that of eval.ood."""


def read_rows(path: str | None, keys: Reading | None = None, *, missing: bool = False) -> FileRows:
    """Read the rows of a file, the names of its columns, and their classes if there is a label.

    Args:
        path: of the file; `~` is the home folder.
        keys: how it is read; None detects everything.
        missing: whether a number may be missing, and is NaN then.

    Raises:
        ValueError: there is no such file, a key does not fit it, or a number in it is not finite (the message names
            its row and column).
    """
    if path is None:
        raise ValueError(f"path must name a {SUFFIXES} file")
    file = expanded(path)
    suffix = suffix_of(file)
    if "://" in path and not file.is_file():
        raise ValueError(f"path must name a file on this machine, got {path}: download it first")
    if suffix not in READERS:
        hint = HINTS.get(suffix, "")
        raise ValueError(f"path must name a {SUFFIXES} file, got {path}{f'; {hint}' if hint else ''}")
    if not file.is_file():
        near = ", which is a folder" if file.is_dir() else _near(file)
        raise ValueError(f"path {path} is not a file: looked for {file.absolute()}{near}")
    about = file.stat()
    try:
        return _read(file.absolute(), about.st_mtime_ns, about.st_size, keys or Reading(), missing)
    except InvalidFile as reason:
        raise ValueError(f"path {path} {reason}") from None
    except PermissionError:
        raise ValueError(f"path {path} must not be read: its permissions do not allow it") from None


def suffix_of(file: Path) -> str:
    """The suffix that tells the reader, in small letters, without that of a compression: .csv of x.CSV.gz."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    inner = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in PACKED else ""
    return inner if READERS.get(inner) is read_text else suffixes[-1] if suffixes else ""


def _near(file: Path) -> str:
    if not file.parent.is_dir():
        return f"; there is no folder {file.parent}"
    return did_you_mean(file.name, (other.name for other in file.parent.iterdir() if other.is_file()))


# A run builds its data set twice, to validate its config and to train, and so does every job of a sweep.
@lru_cache(maxsize=FILES)
def _read(file: Path, modified: int, size: int, keys: Reading, missing: bool) -> FileRows:
    """The rows of a file with this time of modification and size; they are shared by all callers and read-only."""
    try:
        read = _rows(file, keys, missing)
    except DoubtfulHeader as doubt:
        others = _problems_below_names(file, keys, missing)
        raise InvalidFile(f"{doubt}. With names, it also {others}" if others else str(doubt)) from None
    return read._replace(fingerprint=fingerprint(read.rows, read.column_names, read.labels))


def _rows(file: Path, keys: Reading, missing: bool) -> FileRows:
    contents = READERS[suffix_of(file)](file, keys)
    if isinstance(contents, ReadTable):
        return table_rows(contents, keys, file.name, missing)
    return array_rows(contents, keys, file.name, missing)


def _problems_below_names(file: Path, keys: Reading, missing: bool) -> str:
    """The other reasons to refuse a file whose first line holds names: they are told together with the doubt."""
    try:
        _rows(file, replace(keys, header=True), missing)
    except InvalidFile as reason:
        return str(reason)
    except ValueError:  # a key that does not fit the file, or does not fit names
        return ""
    return ""
