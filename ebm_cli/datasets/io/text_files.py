"""Text files of any encoding and compression: found by their first bytes, bounded before anything is held in memory."""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ebm_cli.datasets.io.contents import InvalidFile
from ebm_cli.system.memory import format_bytes, max_array_bytes

LONGEST_LINE = 2**20
"""Bytes of a line: room for 50,000 numbers of any length."""
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
MAGIC = {
    b"\x93NUMPY": "a .npy array",
    b"PK\x03\x04": "a zip archive, as .npz, .xlsx and .pt are",
    b"PAR1": "a .parquet table",
    b"ARROW1": "a .feather table",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB 5": "a MATLAB file",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save it as .xlsx or .csv",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"%PDF": "a PDF",
}
"""First bytes of a file → what it is."""
TEXTS = {
    b"<!doctypehtml": "a web page (HTML): download the file that the page shows, for instance by its link 'raw'",
    b"<html": "a web page (HTML): download the file that the page shows, for instance by its link 'raw'",
    b"<?xml": "XML: pandas.read_xml(…).to_csv(…) writes it as .csv",
    b'[{"': "JSON: pandas.read_json(…).to_csv(…) writes it as .csv",
    b'{"': "JSON: pandas.read_json(…).to_csv(…) writes it as .csv",
    b"versionhttps://git-lfs": "a pointer of Git LFS to a file: git lfs pull fetches the file itself",
}
"""First characters of a text that is no table, in small letters and without blanks → what it is, and what to do."""
CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1a")
"""Bytes that no text holds."""


class TextFile(NamedTuple):
    """A text file that has been scanned once.

    Attributes:
        file: its path.
        opened: opens its bytes, unpacked.
        encoding: for Python.
        has_comments: some line after the first begins with #.
        note: on the encoding, where it is not marked in the file.
    """

    file: Path
    opened: Callable[[], Any]
    encoding: str
    has_comments: bool
    note: str = ""

    @contextmanager
    def lines(self) -> Iterator[io.TextIOWrapper]:
        """Open the file as text; ends of lines are kept."""
        with self.opened() as data:
            text = io.TextIOWrapper(data, encoding=self.encoding, newline="")
            try:
                yield text
            finally:
                text.detach()


def kind_of(start: bytes) -> str | None:
    """The kind of a file by its first bytes; None if they are none of `MAGIC`."""
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)


def kind_of_text(start: bytes) -> str | None:
    """The kind of a text that is no table by its first bytes, and what to do; None if they are none of `TEXTS`."""
    letters = b"".join(start[:200].removeprefix(codecs.BOM_UTF8).split()).lower()
    return next((kind for begin, kind in TEXTS.items() if letters.startswith(begin)), None)


def is_text(file: Path) -> bool:
    """True if the first bytes of a file are printable text."""
    with file.open("rb") as opened:
        start = opened.read(1000)
    return bool(start) and kind_of(start) is None and not CONTROL.intersection(start) and start.isascii()


def scan(file: Path) -> TextFile:
    """Find compression and encoding, and read through the file once.

    Raises:
        InvalidFile: no text, a damaged archive, a line too long for a table, or more text than memory has room for.
    """
    opened = _opener(file)
    try:
        return _scan(file, opened)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        raise InvalidFile("is damaged: it cannot be unpacked") from None


def _opener(file: Path) -> Callable[[], Any]:
    with file.open("rb") as start:
        magic = start.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return lambda: gzip.open(file, "rb")
    if magic.startswith(b"BZh"):
        return lambda: bz2.open(file, "rb")
    if magic.startswith(b"\xfd7zXZ"):
        return lambda: lzma.open(file, "rb")
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return lambda: _open_zstd(file)
    if magic.startswith(b"PK\x03\x04") and file.suffix.lower() == ".zip":
        return lambda: _open_zip(file)
    return lambda: file.open("rb")


def _open_zstd(file: Path) -> Any:
    try:
        zstandard: Any = importlib.import_module("zstandard")
    except ImportError:
        raise InvalidFile("needs zstandard, which is not installed: pip install zstandard") from None
    return io.BufferedReader(zstandard.open(file, "rb"))


def _open_zip(file: Path) -> Any:
    archive = zipfile.ZipFile(file)
    members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(members) != 1:
        raise InvalidFile(f"must hold one file, got {len(members)}: unpack it, and name one of them")
    return archive.open(members[0])


def _scan(file: Path, opened: Callable[[], Any]) -> TextFile:
    n_bytes, length, line, has_comments, is_utf8 = 0, 0, 1, False, True
    decoder, encoding, most = codecs.getincrementaldecoder("utf-8")(), "", max_array_bytes()
    with opened() as data:
        while piece := data.read(LONGEST_LINE):
            if not n_bytes:
                encoding = _marked_encoding(piece)
                _require_text(piece, encoding)
            n_bytes += len(piece)
            if n_bytes > most:
                raise InvalidFile(f"unpacks to more than {format_bytes(most)}, which is the most that is read here")
            for k, part in enumerate(piece.replace(b"\r", b"\n").split(b"\n")):
                length, line = (len(part), line + 1) if k else (length + len(part), line)
                if length > LONGEST_LINE:
                    raise InvalidFile(
                        f"has a line of more than {LONGEST_LINE:,} bytes, line {line}: store so many columns in .npy"
                    )
            has_comments = has_comments or b"\n#" in piece or b"\r#" in piece or b"\n\x00#" in piece
            if is_utf8 and not encoding:
                try:
                    decoder.decode(piece)
                except UnicodeDecodeError:
                    is_utf8 = False
    if encoding or is_utf8:
        return TextFile(file, opened, encoding or "utf-8", has_comments)
    # Windows' code page is Latin-1 with more letters, and leaves five bytes undefined.
    with opened() as data:
        windows = all(
            not set(b"\x81\x8d\x8f\x90\x9d").intersection(piece) for piece in iter(lambda: data.read(2**20), b"")
        )
    return TextFile(file, opened, "cp1252" if windows else "latin-1", has_comments, "letters as in Latin-1")


def _marked_encoding(piece: bytes) -> str:
    """The encoding that a byte order mark names; for UTF-16 without one, that of its empty bytes; else none."""
    for mark, encoding in BOMS:
        if piece.startswith(mark):
            return encoding
    pairs = piece[:400]
    if len(pairs) > 3 and b"\0" in pairs:
        for encoding, empty, full in (("utf-16-le", pairs[1::2], pairs[::2]), ("utf-16-be", pairs[::2], pairs[1::2])):
            if not any(empty) and all(full):
                return encoding
    return ""


def _require_text(piece: bytes, encoding: str) -> None:
    kind = kind_of(piece)
    if kind is not None:
        raise InvalidFile(f"is not a text file: its first bytes are those of {kind}")
    if not encoding.startswith("utf-16") and (found := CONTROL.intersection(piece)):
        raise InvalidFile(f"is not a text file: it holds the byte {min(found)}")
    if (other := kind_of_text(piece)) is not None:
        raise InvalidFile(f"is no table but {other}")
