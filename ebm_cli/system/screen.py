"""The screen of a command, which never ends it: a pipe that closed, a full device, an encoding without → or ±.

The results of a command are its files. What cannot be printed is replaced or discarded; the command continues.
"""

import codecs
import io
import os
import select
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ERRORS = "ebm-screen"
"""Name of the error handler that writes characters which an encoding lacks in its own."""

_FORMS = {
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "±": "+-", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "‖": "||",
    "∇": "grad", "Δ": "Delta", "∂": "d", "∫": "int", "∞": "inf", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "√": "sqrt",
    "∈": "in", "∝": "~", "′": "'", "…": "...", "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "ß": "ss", "æ": "ae",
    "ø": "o", "µ": "u", "│": "|", "─": "-", "━": "-", "╸": "-", "╺": "-", "✓": "ok",
}  # fmt: skip


class _Screen(io.FileIO):
    """A file descriptor that discards what it cannot write, and keeps the error."""

    lost: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write; the number of bytes that were written or discarded."""
        while self.lost is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.lost = error
                break
            if written is not None:
                return written
            select.select([], [self], [])  # a terminal that does not block, and is behind
        return memoryview(data).nbytes


def protect_screen() -> None:
    """Replace this process's standard streams by ones that never raise; once a process.

    A stream that was closed (`>&-`) is opened on the null device first: a file of the command would be given its
    number, and would receive what a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error(ERRORS, _spell)
    sys.stdout = _protected(sys.stdout, 1)
    sys.stderr = _protected(sys.stderr, 2)


def lost_output() -> OSError | None:
    """Why a part of the output was discarded; None if nothing was, or if the reader of a pipe wanted no more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Screen) else None
    return None if isinstance(lost, BrokenPipeError) else lost


def _protected(stream: TextIO | None, number: int) -> TextIO:
    """The stream on a `_Screen`; one that is not the process's own, such as a notebook's, stays as it is."""
    if stream is not None and (not isinstance(stream, io.TextIOWrapper) or _number_of(stream) != number):
        return stream
    if stream is not None and isinstance(getattr(stream.buffer, "raw", None), _Screen):
        return stream
    encoding = "utf-8" if stream is None else stream.encoding
    if stream is not None:
        stream.flush()
    raw = _Screen(number, "w", closefd=False)
    is_line_buffered = number == 2 or (stream is not None and stream.line_buffering)
    return io.TextIOWrapper(
        io.BufferedWriter(cast(io.RawIOBase, raw)), encoding, ERRORS, line_buffering=is_line_buffered
    )


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """Spell what an encoding lacks: → as ->, é as e, σ as sigma, else ?; bytes of a file's name as they are."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    if all("\udc80" <= c <= "\udcff" for c in text):
        return bytes(ord(c) - 0xDC00 for c in text), error.end
    spelled = "".join(map(_spell_character, text))
    try:
        spelled.encode(error.encoding)
    except UnicodeError:
        spelled = spelled.encode("ascii", "replace").decode("ascii")
    return spelled, error.end


def _spell_character(c: str) -> str:
    if c in _FORMS:
        return _FORMS[c]
    plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode("ascii")
    if plain:
        return f"^{plain}" if "<super>" in unicodedata.decomposition(c) else plain
    name = unicodedata.name(c, "")
    if name.startswith("GREEK "):
        letter = name.partition("LETTER ")[2].split(" ")[0]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    return "?"
