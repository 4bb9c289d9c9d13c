"""docs/gallery/index.md: each picture with its commands and how long they take."""

import json

from tests.gallery.pictures import PICTURES, Picture
from tests.support import REPO

FOLDER = REPO / "docs" / "gallery"
PAGE = FOLDER / "index.md"
SECONDS = FOLDER / "seconds.json"
"""Picture → seconds that `make gallery` took for it."""

INTRODUCTION = """# Gallery

Each picture with the commands that make it, and how long they take on two cores. `make gallery` runs them all and
writes this page; `make gallery only=nce_moons,train` remakes two. An earlier picture's run is used again.
"""


def read_seconds() -> dict[str, int]:
    """The measured seconds; empty before the first measurement."""
    found: dict[str, int] = json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {}
    return found


def page() -> str:
    """The page as Markdown."""
    seconds = read_seconds()
    return "\n".join([INTRODUCTION, *(_entry(picture, seconds.get(picture.file)) for picture in PICTURES)])


def _entry(picture: Picture, seconds: int | None) -> str:
    commands = "\n".join(f"    {command}" for command in picture.commands)
    time = f"About {picture.about}." if seconds is None else f"Measured: {seconds} s."
    alt = picture.title.replace("`", "")
    return f"## {picture.title}\n\n![{alt}]({picture.file})\n\n{picture.shows} {time}\n\n{commands}\n"
