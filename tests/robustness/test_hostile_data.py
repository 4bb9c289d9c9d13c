"""Malicious data files: refused in one line and at once, without running code, writing files or filling the memory."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebm_cli.datasets import CIFAR10, MNIST, File
from ebm_cli.datasets.io.conditioning_files import read_mask, read_rows
from ebm_cli.datasets.io.row_files import READERS
from ebm_cli.datasets.io.safe_pickle import read_dict
from ebm_cli.datasets.io.text_files import LONGEST_LINE
from ebm_cli.errors import UserError
from ebm_cli.system import memory
from tests.image_files import CIFAR_NAMES, IDX_NAMES, idx, put_cifar, put_idx
from tests.support import Ebm

ROWS = np.random.default_rng(0).normal(size=(20, 3))
GIB = 2**30


class Canary:
    """A pickle that leaves a file if it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@contextmanager
def limited_cost(megabytes: float = 64, seconds: float = 5) -> Iterator[None]:
    """Assert that the block needs little memory (at the peak of the process) and little CPU time."""
    memory.reset_peak_memory(torch.device("cpu"))
    before = memory.peak_memory_mb(torch.device("cpu"))
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds
    assert memory.peak_memory_mb(torch.device("cpu")) - before < megabytes


def refuse(path: Path, message: str, make: Callable[[str], Any] = File, **limits: float) -> None:
    """Assert that the file is refused in one line, at little cost, and that no file appears beside it."""
    before = sorted(path.parent.rglob("*"))
    with limited_cost(**limits), pytest.raises((ValueError, UserError), match=message) as caught:
        make(str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 800
    assert sorted(path.parent.rglob("*")) == before


# --- more than the memory holds ---------------------------------------------------------------------------------------


def npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def write_bomb(path: Path, n_bytes: int, name: str = "x.npy", declared: int | None = None) -> None:
    """Write an .npz whose only array unpacks to so many zeros; `declared` is a false size in its directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open(name, "w") as file:
        file.write(npy_header((n_bytes // 8,)))
        for _ in range(n_bytes // 2**20):
            file.write(bytes(2**20))
    if declared is not None:
        data = bytearray(path.read_bytes())
        start = data.rindex(b"PK\x01\x02")
        data[start + 24 : start + 28] = struct.pack("<I", declared)
        path.write_bytes(data)


@pytest.fixture
def _little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of 64 MB, so that no test needs gigabytes."""
    (tmp_path / "limit").mkdir()
    (tmp_path / "limit" / "memory.max").write_text(str(2**26))
    monkeypatch.setattr(memory, "CONTAINER", tmp_path / "limit" / "memory.max")


@pytest.mark.usefixtures("_little_room")
def test_npz_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    write_bomb(tmp_path / "x.npz", 2**27)
    assert (tmp_path / "x.npz").stat().st_size < 2**20
    refuse(
        tmp_path / "x.npz", r"x\.npz unpacks to 134\.2 MB: at most 33\.6 MB are read into memory here$", megabytes=16
    )
    for read, key in ((read_rows, "init"), (read_mask, "mask")):
        write_bomb(tmp_path / f"{key}.npz", 2**27, "x.npy" if key == "init" else "mask.npy")
        refuse(tmp_path / f"{key}.npz", rf"^{key}=.*unpacks to 134\.2 MB", lambda p, read=read: read(p, (2,)))


@pytest.mark.usefixtures("_little_room")
def test_npz_is_unpacked_only_to_its_declared_size(tmp_path: Path) -> None:
    write_bomb(tmp_path / "x.npz", 2**27, declared=2**20)
    refuse(tmp_path / "x.npz", r"x\.npz cannot be read as \.npz: ")


@pytest.mark.parametrize("shape", [(10**12, 3), (2**62, 4), (10**6, 10**6), (-1, 2)])
def test_array_with_a_shape_beyond_its_file_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "x.npy").write_bytes(npy_header(shape) + bytes(240))
    refuse(tmp_path / "x.npy", r"x\.npy cannot be read as \.npy: ")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy_header(shape) + bytes(240))
    refuse(tmp_path / "x.npz", r"x\.npz cannot be read as \.npz: ")


@pytest.mark.usefixtures("_little_room")
def test_tensor_expanded_from_one_number_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(1).expand(10**6, 100), tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 4000
    refuse(tmp_path / "x.pt", r"x\.pt holds 400\.0 MB of numbers: at most 33\.6 MB are read into memory$")


def test_compressed_tensor_is_refused(tmp_path: Path) -> None:
    """torch.save never compresses, but torch.load decompresses."""
    torch.save(torch.zeros(2**20, 4), tmp_path / "y.pt")
    with zipfile.ZipFile(tmp_path / "y.pt") as plain, zipfile.ZipFile(tmp_path / "x.pt", "w", 8) as packed:
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    refuse(tmp_path / "x.pt", r"x\.pt unpacks to 16\.8 MB: at most", megabytes=8)
    (tmp_path / "y.pt").unlink()


@pytest.mark.usefixtures("_little_room")
def test_idx_file_is_unpacked_only_to_its_declared_size(tmp_path: Path) -> None:
    def mnist(data: bytes, message: str, name: str = IDX_NAMES[0]) -> None:
        put_idx(tmp_path / "mnist")
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(data)
        refuse(tmp_path / "mnist" / f"{name}.gz", message, lambda path: MNIST(str(tmp_path / "mnist")))

    zeros = gzip.compress(idx(np.zeros((40, 28, 28), np.uint8)) + bytes(2**28), compresslevel=1)
    mnist(zeros, r"of more than 31360 bytes for shape \[40, 28, 28\]$")
    claimed = bytes([0, 0, 8, 3]) + struct.pack(">3I", 10**6, 10**3, 10**3)
    mnist(gzip.compress(claimed), r"of 1\.0 TB: at most 33\.6 MB are read into memory$")
    mnist(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3)), r"of \d+\.\d TB: at most")


def test_cifar_batch_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    for name in ("cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/readme.html"):
        member = tarfile.TarInfo(name)
        member.size = 10 * GIB
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(2**20)))
        refuse(tmp_path / "cifar-10-python.tar.gz", r"holds a \S+ of 10\.7 GB", lambda path: CIFAR10(str(tmp_path)))
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    put_cifar(tmp_path, packed=False)
    sparse = tmp_path / "cifar-10-batches-py" / CIFAR_NAMES[2]
    os.truncate(sparse, 10 * GIB)
    refuse(sparse, r"holds a data_batch_3 of 10\.7 GB: a batch has 31\.0 MB$", lambda path: CIFAR10(str(tmp_path)))


def test_pickle_with_a_huge_memo_index_takes_no_memory() -> None:
    with limited_cost(), pytest.raises(ValueError, match=r"^.+$"):
        read_dict(b"N" + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1) + b".")
    with limited_cost(), pytest.raises(ValueError, match=r"^.+$"):
        read_dict(pickle.BINBYTES8 + struct.pack("<Q", 2**40) + b".")


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [b"", b"1,2\n3,4\n"])
@pytest.mark.parametrize("line", [b"1" * 10**7, b"x" * 10**7, b'"' + b"1" * 10**7, b"0," * (5 * 10**6) + b"0"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_line_of_megabytes_is_refused(tmp_path: Path, below: bytes, line: bytes, end: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(below + line + end + below)
    where = 3 if below else 1
    refuse(tmp_path / "x.csv", rf"x\.csv has a line of more than 1,048,576 bytes, line {where}: ", seconds=1)


def test_million_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes((b"\t".join([b"0.5"] * 10**6) + b"\n") * 5)
    refuse(tmp_path / "x.tsv", r"has a line of more than 1,048,576 bytes, line 1: store so many columns in \.npy$")


@pytest.mark.slow
def test_control_long_tables_of_allowed_lines_are_read(tmp_path: Path) -> None:
    """A table longer than the longest line, and lines just below that limit."""
    cell = b"0." + b"5" * (LONGEST_LINE // 4 - 4)
    for text in (b"0.25,0.5\r\n" * (LONGEST_LINE // 8), b"1.5,2.5\n" + (b",".join([cell] * 2) + b"\n") * 6):
        (tmp_path / "x.csv").write_bytes(text)
        assert File(str(tmp_path / "x.csv")).shape == (2,)


def test_message_about_a_long_cell_is_cut(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2\n" + "x" * 50_000 + ",2\n")
    refuse(tmp_path / "x.csv", r"holds text in place of numbers in column 0 .*'x{80}' in line 2\): ")


# --- not a file of numbers --------------------------------------------------------------------------------------------


def refusal(path: Path) -> str | None:
    """The reason for which a file is refused; None if it holds finite numbers."""
    try:
        rows = File(str(path)).reference
    except ValueError as error:
        return str(error)
    assert bool(torch.isfinite(rows).all())
    return None


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(data=st.binary(max_size=300), kind=st.sampled_from(sorted(READERS)), magic=st.booleans())
def test_random_bytes_are_refused_or_are_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str, magic: bool
) -> None:
    """Also after the right first bytes."""
    starts = {".npy": b"\x93NUMPY\x01\x00\x20\x00", ".npz": b"PK\x03\x04", ".pt": b"PK\x03\x04", ".parquet": b"PAR1"}
    path = tmp_path_factory.getbasetemp() / f"garbage{kind}"
    path.write_bytes((starts.get(kind, b"1,2\n") if magic else b"") + data)
    said = refusal(path)
    assert said is None or (said.startswith(f"path {path} ") and len(said.splitlines()) == 1)
    assert said is not None or kind in (".csv", ".tsv")


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    cut=st.booleans(),
    kind=st.sampled_from(["npy", "npz", "pt"]),
)
def test_damaged_file_is_refused_or_is_numbers(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, cut: bool, kind: str
) -> None:
    """Truncated anywhere, or with one flipped bit: finite rows or one line, and never more memory."""
    file = io.BytesIO()
    if kind == "pt":
        torch.save(torch.from_numpy(ROWS), file)
    else:
        (np.savez_compressed if kind == "npz" else np.save)(file, ROWS)  # type: ignore[operator]
    data = bytearray(file.getvalue())
    at = int(place * len(data))
    data[at] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(data[:at] if cut else data)
    with limited_cost():
        said = refusal(path)
    assert said is None or (said.startswith(f"path {path} ") and len(said.splitlines()) == 1)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_path_that_is_not_a_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    """Opening a pipe would block."""
    os.mkfifo(tmp_path / f"pipe{kind}")
    (tmp_path / f"folder{kind}").mkdir()
    (tmp_path / f"zero{kind}").symlink_to("/dev/zero")
    (tmp_path / f"nowhere{kind}").symlink_to(tmp_path / "none")
    (tmp_path / f"round{kind}").symlink_to(tmp_path / f"round{kind}")
    for name in ("pipe", "folder", "zero", "nowhere", "round"):
        refuse(tmp_path / f"{name}{kind}", r"is not a file: looked for /")
        for read in (read_rows, read_mask):
            with pytest.raises(UserError, match=r"must be .*file (of rows )?that exists$"):
                read(str(tmp_path / f"{name}{kind}"), (2,))


def test_published_file_that_is_a_pipe_is_not_opened(tmp_path: Path) -> None:
    put_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{IDX_NAMES[0]}.gz").unlink()
    os.mkfifo(tmp_path / "mnist" / IDX_NAMES[0])
    refuse(tmp_path / "mnist" / IDX_NAMES[0], r"that is not a file$", lambda path: MNIST(str(tmp_path / "mnist")))
    os.mkfifo(tmp_path / "cifar-10-python.tar.gz")
    refuse(tmp_path / "cifar-10-python.tar.gz", r"is not a regular file$", lambda path: CIFAR10(str(tmp_path)))


def test_link_to_a_file_is_followed(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    (tmp_path / "x.npy").symlink_to(tmp_path / "rows.npy")
    assert File(str(tmp_path / "x.npy")).shape == (3,)


# --- code and paths in a file -----------------------------------------------------------------------------------------


def test_code_in_a_data_file_is_not_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = np.array([Canary(canary)] * 8, dtype=object)
    np.save(tmp_path / "x.npy", pickled)
    np.savez(tmp_path / "x.npz", x=pickled, mask=pickled)
    torch.save(Canary(canary), tmp_path / "x.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Canary(canary), 2))
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Canary(canary), 2))
    for name, message in [
        ("x.npy", "holds Python objects, not numbers"),
        ("raw.npy", r"cannot be read as \.npy"),
        ("x.pt", "is damaged, or holds more than the one tensor"),
        ("raw.pt", "is damaged, or holds more than the one tensor"),
    ]:
        refuse(tmp_path / name, message)
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    refuse(tmp_path / "one.npz", "holds Python objects, not numbers")
    for name in ("x.npy", "x.npz"):
        for read in (read_rows, read_mask):
            refuse(tmp_path / name, "holds Python objects, not numbers", lambda path, read=read: read(path, (2,)))
    assert not canary.exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert canary.exists(), "control: numpy executes it if it is allowed to"


@pytest.mark.parametrize("name", ["../x.npy", "/tmp/x.npy", "..\\x.npy", "a/../../x.npy", "x", ".npy"])
def test_names_in_an_archive_lead_to_no_other_file(tmp_path: Path, name: str) -> None:
    """Arrays are read in memory; a member that is not an array by its name is refused."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    file = io.BytesIO()
    np.save(file, ROWS)
    with zipfile.ZipFile(inner / "x.npz", "w") as archive:
        archive.writestr(name, file.getvalue())
    with zipfile.ZipFile(inner / "y.npz", "w") as archive:
        archive.writestr(name, b"no array")
    assert File(str(inner / "x.npz")).shape == (3,)
    refuse(inner / "y.npz", r"y\.npz (cannot be read as \.npz: \S* is no array|must hold one array)")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "x.npz", "y.npz"]


def test_tar_archive_writes_no_file(tmp_path: Path) -> None:
    """Members that lead out of their folder and links, also circular ones, are ignored."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in ("../evil", "/tmp/evil", "cifar-10-batches-py/../../evil"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        for link.type, link.linkname in [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "data_batch_1")]:
            tar.addfile(link)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(file.getvalue())
    with pytest.raises(FileNotFoundError, match=r"holds no data_batch_1 in"):
        CIFAR10(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["cifar-10-python.tar.gz"]


def test_train_refuses_a_hostile_file_in_one_line(ebm: Ebm, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}] * 8, dtype=object))
    (tmp_path / "y.csv").write_bytes(b"1" * 2 * 10**6)
    os.mkfifo(tmp_path / "z.npz")
    before = sorted(tmp_path.rglob("*"))
    for name, line in [
        ("x.npy", "path x.npy holds Python objects, not numbers (dtype object)"),
        ("y.csv", "path y.csv has a line of more than 1,048,576 bytes, line 1"),
        ("z.npz", "path z.npz is not a file: looked for "),
    ]:
        ran = ebm("train", "dataset=file", f"dataset.path={name}")
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 1)
        assert ran.err.startswith(f"ebm: dataset.{line}")
    assert sorted(tmp_path.rglob("*")) == before
