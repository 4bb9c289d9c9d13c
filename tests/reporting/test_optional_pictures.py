"""Pictures that fail cost a sentence."""

import errno
import warnings

import pytest

from ebm_cli.errors import UserError
from ebm_cli.reporting.optional_pictures import optional


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no bins\nin detail"), "ValueError: no bins"),
        (ModuleNotFoundError("No module named 'matplotlib'"), "matplotlib cannot be imported (No module named"),
        (OSError(errno.ENOSPC, "No space left on device"), "no room to write it (No space left on device)"),
        (PermissionError(errno.EACCES, "Permission denied", "f.png"), "f.png cannot be written (Permission denied)"),
        (MemoryError(), "MemoryError"),
        (UserError("checkpoint=x: damaged"), ": checkpoint=x: damaged"),
    ],
)
def test_error_in_a_picture_becomes_a_sentence(error: Exception, reason: str) -> None:
    notes: list[str] = []
    with optional("picture: f.png", notes):
        raise error
    assert len(notes) == 1
    assert notes[0].startswith("picture: f.png is missing, everything else is complete: ")
    assert reason in notes[0]


def test_picture_that_is_drawn_has_no_sentence() -> None:
    notes: list[str] = []
    with optional("picture", notes):
        warnings.warn("a glyph is missing from the font", UserWarning, stacklevel=1)
    assert notes == []


def test_interrupt_passes_through_a_picture() -> None:
    notes: list[str] = []
    with pytest.raises(KeyboardInterrupt), optional("picture", notes):
        raise KeyboardInterrupt
    assert notes == []
