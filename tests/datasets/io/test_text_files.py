"""Compressed text, and files that are no text: told by their contents, not by their names."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from ebm_cli.datasets.io.text_files import scan
from ebm_cli.system import memory
from tests.datasets.support import ROWS, read_text, write

TEXT = b"a,b\n1.5,2\n2.5,3\n1,2\n-1.0,5\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv.gz", gzip.compress(TEXT, mtime=0)),
        ("x.csv.bz2", bz2.compress(TEXT)),
        ("x.CSV.xz", lzma.compress(TEXT)),
        ("x.csv.zip", zipped("x.csv")),
        ("x.csv", gzip.compress(TEXT, mtime=0)),
        ("x.csv.gz", TEXT),
        ("x.txt", TEXT),
        ("x.dat", TEXT),
        ("x.data", TEXT),
        ("x.tab", TEXT),
    ],
)
def test_text_is_unpacked_by_its_contents(name: str, content: bytes, tmp_path: Path):
    read = read_text(tmp_path, content, name)
    assert read.rows.shape == (4, 2)
    assert read.description == f"4 rows × 2 columns (a, b) from {name}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv.gz", b"\x1f\x8bgarbage", "is damaged: it cannot be unpacked"),
        ("x.csv.gz", gzip.compress(TEXT, mtime=0)[:-4], "is damaged: it cannot be unpacked"),
        ("x.csv.zip", zipped("x.csv", "y.csv"), "must hold one file, got 2: unpack it"),
        ("x.csv", bytes(range(256)), "is not a text file: it holds the byte 0"),
        ("x.csv", b"PAR1" + bytes(9), "is not a text file: its first bytes are those of a .parquet table"),
        ("x.csv", b"\x93NUMPY\x01\x00", "is not a text file: its first bytes are those of a .npy array"),
        ("x.csv", zipped("xl/workbook.xml"), "is not a text file: its first bytes are those of a zip archive"),
        ("x.npy", TEXT, r"cannot be read as .npy: it is a text file; rename it to .csv"),
        ("x.npy", b"", r"cannot be read as .npy: it is empty"),
        ("x.npy", b"\x89HDF\r\n\x1a\n", r"cannot be read as .npy: its first bytes are those of an HDF5 file"),
        ("x.parquet", TEXT, r"is not a table of Apache Arrow"),
        (
            "x.csv",
            b"\n<!DOCTYPE html>\n<html><td>1,2</td>\n",
            r"is no table but a web page \(HTML\): download the file",
        ),
        ("x.csv.gz", gzip.compress(b"<HTML lang=de>", mtime=0), r"is no table but a web page \(HTML\)"),
        ("x.csv", b"\xef\xbb\xbf<?xml version='1.0'?><a>1</a>", r"is no table but XML: pandas.read_xml"),
        ("x.csv", b'[\n  {"a": 1.5, "b": 2}]', r"is no table but JSON: pandas.read_json"),
        ("x.csv", LFS, r"is no table but a pointer of Git LFS to a file: git lfs pull fetches the file itself"),
        ("x.npy", LFS, r"cannot be read as .npy: it is a pointer of Git LFS to a file: git lfs pull"),
    ],
)
def test_file_with_a_wrong_name_is_told_by_its_contents(name: str, content: bytes, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"^path \S+ {message}") as caught:
        read_text(tmp_path, content, name)
    assert "pickle" not in str(caught.value)


def test_folder_and_a_misspelt_file_are_named(tmp_path: Path):
    (tmp_path / "x.csv").mkdir()
    write(tmp_path, "rows.npy", ROWS)
    from ebm_cli.datasets.io.row_files import read_rows

    with pytest.raises(ValueError, match=r"^path \S+x.csv is not a file: looked for \S+x.csv, which is a folder$"):
        read_rows(str(tmp_path / "x.csv"))
    with pytest.raises(ValueError, match=r"^path \S+ is not a file: looked for \S+; did you mean rows.npy\?$"):
        read_rows(str(tmp_path / "row.npy"))


def test_text_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "limit").write_text(str(2**21))
    monkeypatch.setattr(memory, "CONTAINER", tmp_path / "limit")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 2**19))
    with pytest.raises(ValueError, match=r"unpacks to more than 1.0 MB"):
        read_text(tmp_path, (tmp_path / "x.csv.gz").read_bytes(), "x.csv.gz")


def test_byte_order_mark_and_code_page_are_found(tmp_path: Path):
    for content, encoding in [
        ("1,2\n".encode("utf-16"), "utf-16"),
        ("1,2\n".encode("utf-16-le"), "utf-16-le"),
        ("ä,2\n".encode("cp1252"), "cp1252"),
        ("ä\x81,2\n".encode("latin-1"), "latin-1"),
        ("ä,2\n".encode(), "utf-8"),
    ]:
        (tmp_path / "x.csv").write_bytes(content)
        assert scan(tmp_path / "x.csv").encoding == encoding
