"""Screens: a command's terminal as an SVG that loads nothing, a page as a PNG."""

import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS = 88
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SVG = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's frame without the web fonts that it would fetch."""


def record(words: Sequence[str]) -> str:
    """Run `python -m ebm_cli WORDS` on a terminal of `COLUMNS` columns; all that it writes there.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    ours, its = pty.openpty()
    env = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen([sys.executable, "-m", "ebm_cli", *words], stdout=its, stderr=its, env=env)
    os.close(its)
    read = bytearray()
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not block:
            break
        read += block
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, words, read.decode())
    return read.decode()


def terminal_svg(command: str, written: str) -> str:
    """An SVG of the command, its bar half way, and what it left on the terminal."""
    frames = [line for line in re.split(r"[\r\n]", written) if re.search(r"step .*\d/\d", _plain(line))]
    bar = frames[len(frames) // 2 : len(frames) // 2 + 1]
    left = written.replace("\r\n", "\n").rpartition("\r")[2]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    for line in [*bar, *left.splitlines()]:
        console.print(Text.from_ansi(re.sub(r"\x1b\[[\d;?]*[A-HJKSTfhlnsu]", "", line)))
    return console.export_svg(title="ebm train", code_format=SVG, unique_id="ebm-train")


def _plain(line: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line)


def page_png(page: Path, file: Path) -> bool:
    """Photograph a page with a browser, sharp at the width of a README; False where there is none.

    With five methods the height ends below the charts of one data set.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return False
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1060,1640")
    flags += ("--force-device-scale-factor=1.5",)
    subprocess.run([browser, *flags, f"--screenshot={file}", page.resolve().as_uri()], check=True, capture_output=True)
    return True
