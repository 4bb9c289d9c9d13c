"""Rebuild the pictures of docs/gallery and its page: `python -m tests.gallery [only=NAME,NAME]`.

Runs lie in outputs/gallery, and finished ones are not repeated. A time is that of a picture's own commands: those that
an earlier picture ran are not counted twice.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_cli.reporting.figures.canvas import blank, pixels
from tests.gallery.halves import write_halves
from tests.gallery.page import FOLDER, PAGE, SECONDS, page, read_seconds
from tests.gallery.pictures import PICTURES, ROOT, Picture
from tests.gallery.screens import page_png, record, terminal_svg

DOTS = 150
"""Per inch, of the program's pictures."""


def main(words: list[str]) -> None:
    """Make the pictures that the words name, or all."""
    only = next((word.partition("=")[2].split(",") for word in words if word.startswith("only=")), None)
    seconds = read_seconds()
    for picture in PICTURES:
        if only is None or picture.file.partition(".")[0] in only:
            begin = time.monotonic()
            if make(picture):
                seconds[picture.file] = round(time.monotonic() - begin)
            SECONDS.write_text(json.dumps(seconds, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


def make(picture: Picture) -> bool:
    """Run a picture's commands and write it; False where a browser is missing."""
    print(f"--- {picture.file}", flush=True)
    if not picture.made:
        *before, last = picture.commands
        for command in before:
            run(command)
        written = record(shlex.split(last)[1:])
        (FOLDER / picture.file).write_text(terminal_svg(last, written), encoding="utf-8")
        return True
    for command in picture.commands:
        if f"init={ROOT}/rows.npz" in command:
            write_halves(Path(ROOT, "half_digits"), Path(ROOT, "rows.npz"))
        run(command)
    first, *others = map(Path, picture.made)
    if first.suffix == ".html":
        return page_png(first, FOLDER / picture.file) or print(f"no browser: {picture.file} is unchanged") is not None
    if others:
        join([first, *others], picture.captions, FOLDER / picture.file)
    else:
        shutil.copy(first, FOLDER / picture.file)
    return True


def run(command: str) -> None:
    """Run one command of a picture; exit code 4, finished and not to be trusted, still leaves its picture."""
    ran = subprocess.run([sys.executable, "-m", "ebm_cli", *shlex.split(command)[1:]], check=False)
    if ran.returncode not in (0, 4):
        raise SystemExit(f"exit code {ran.returncode}: {command}")


def join(files: list[Path], captions: Sequence[str], file: Path) -> None:
    """Put pictures side by side, cut to the lowest, each below its caption."""
    from matplotlib.image import imread, imsave

    panels = [imread(path)[..., :3] for path in files]
    height = min(map(len, panels))
    columns = [
        np.vstack([heading(caption, panel.shape[1]), panel[:height]])
        for caption, panel in zip(captions, panels, strict=True)
    ]
    imsave(file, np.hstack(columns))


def heading(text: str, width: int) -> NDArray[Any]:
    """A line of text in the middle of a white strip of this width in pixels, RGB in [0, 1]."""
    figure = blank(width / DOTS, 0.35)
    figure.text(0.5, 0.3, text, ha="center", fontsize=12, fontweight="bold")
    return pixels(figure)[:, :width] / 255


if __name__ == "__main__":
    main(sys.argv[1:])
