"""The gallery: each command composes, each picture is there, the page is the generated one."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.image import imread, imsave

from tests.gallery.__main__ import join
from tests.gallery.page import FOLDER, PAGE, page
from tests.gallery.pictures import PICTURES
from tests.gallery.screens import terminal_svg
from tests.site.shown import is_expanded
from tests.support import REPO

COMMANDS = list(dict.fromkeys(command for picture in PICTURES for command in picture.commands))


def first_job(words: list[str]) -> Iterator[str]:
    """The words of the first job of a sweep."""
    for override in OverridesParser.create().parse_overrides([word for word in words if word != "-m"]):
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        yield override.input_line if values is None else f"{override.get_key_element()}={values[0]}"


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_gallery_composes(command: str) -> None:
    ebm, verb, *words = shlex.split(command)
    assert ebm == "ebm"
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        cfg = compose(verb, list(first_job(words)), return_hydra_config=True)
    assert cfg.hydra.job.name == verb


def test_commands_of_the_gallery_quote_what_a_shell_would_expand() -> None:
    assert list(filter(is_expanded, COMMANDS)) == []


def test_command_with_an_unknown_key_does_not_compose() -> None:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"), pytest.raises(Exception, match="stepps"):
        compose("train", ["stepps=3"])


def test_every_picture_of_the_folder_has_its_entry() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".png", ".svg")}
    assert files == {picture.file for picture in PICTURES}


def test_pictures_side_by_side_have_a_caption_each(tmp_path: Path) -> None:
    joined = [picture for picture in PICTURES if len(picture.made) > 1]
    assert joined
    assert all(len(picture.captions) == len(picture.made) for picture in joined)
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file, height in zip(files, (90, 70), strict=True):
        imsave(file, np.zeros((height, 200, 3)))
    join(files, ("one", "two"), tmp_path / "both.png")
    pixels = imread(tmp_path / "both.png")[..., :3]
    assert pixels.shape[1] == 400
    assert (pixels[-70:] == 0).all()
    above = pixels[:-70]
    assert 0.8 < above.mean() < 1
    for half in (above[:, :200], above[:, 200:]):
        assert half.min() < 0.2


def test_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_screen_shows_bar_and_panel_and_loads_nothing() -> None:
    bars = "".join(f"\r\x1b[2Kstep {n}/4  \x1b[32mloss {n}.5\x1b[0m" for n in range(1, 5))
    svg = terminal_svg("ebm train", f"data: none\r\n{bars}\r\x1b[2Kthe panel\r\n")
    text = re.sub(r"<[^>]*>", "", svg).replace("&#160;", " ")
    assert "$ ebm train" in text
    assert "step 3/4  loss 3.5" in text
    assert "step 4/4" not in text
    assert "the panel" in text
    assert not re.search(r"url\(\"?https?:", svg)
