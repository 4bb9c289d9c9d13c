"""The page of a comparison: self-contained, escaped, and shown by a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ebm_cli.comparison import charts, page
from ebm_cli.comparison.conclusions import conclusion
from ebm_cli.comparison.page import Panel
from tests.comparison.support import HOSTILE, Elements, Runs, png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def full_page(runs: Runs) -> str:
    """A page with two data sets, hostile names, missing results, an excluded run, and pictures."""
    for i, value in enumerate((0.1, 0.15, 0.2)):
        runs.write("nce", results={"eval/kl": value, "eval/nll": 1.5, "cost/seconds": 1.0 + i, "cost/grad_evals": 0.0})
        runs.write(HOSTILE, results={"eval/kl": 3 * value, "cost/seconds": 5.0 + i, "cost/grad_evals": 2.0})
    runs.write("nce", "rings", results={"eval/kl": 0.2, "cost/seconds": 1.0})
    runs.write("cd", state="diverged", reason="<script>alert(1)</script> at step 3")
    pictures = [
        Panel("data", {"density": png(10), "samples": png(20)}),
        Panel(HOSTILE, {}, "no picture: <img src=x>"),
    ]
    return page.render(runs.compare(), {"moons": pictures}, "Made by hand.")


def test_page_is_self_contained(runs: Runs) -> None:
    elements = Elements(full_page(runs))
    addresses = [
        value
        for _, attrs in elements.tags
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "data")
    ]
    assert len(addresses) == 2 + 2 + 1
    assert all(address.startswith("data:image/") for address in addresses)
    assert not {tag for tag, _ in elements.tags} & {"script", "link", "iframe", "object", "base"}
    assert not [name for _, attrs in elements.tags for name in attrs if name.startswith("on")]
    assert not re.search(r"@import|url\(", full_page(runs))


def test_page_escapes_names(runs: Runs) -> None:
    text = full_page(runs)
    assert "<script" not in text
    assert "<img src=x" not in text
    words = Elements(text).words
    for text_part in (HOSTILE.strip(), "<script>alert(1)</script> at step 3", "no picture: <img src=x>"):
        assert text_part in words


def test_page_has_the_numbers_of_the_table(runs: Runs) -> None:
    text = full_page(runs)
    assert "<b>0.150</b><small>± 0.050</small>" in text
    assert "<td>0.45<small>± 0.15</small></td>" in text
    assert "<td>–</td>" in text
    # A number and its error stay on one line.
    shown = Elements(text).words.replace("\N{NO-BREAK SPACE}", " ")
    assert conclusion(runs.compare().sections[0]).partition(": ")[2] in shown


class Shown:
    """A page in a browser: its document, the messages of the console, its pixels."""

    def __init__(self, text: str, folder: Path) -> None:
        folder.mkdir()
        file, shot = folder / "compare.html", folder / "shot.png"
        file.write_text(text, encoding="utf-8")
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
        flags += ("--disable-background-networking", "--disable-component-update", "--hide-scrollbars")
        flags += ("--enable-logging=stderr", "--window-size=1200,2400", f"--user-data-dir={folder / 'profile'}")
        assert CHROMIUM is not None
        command = [CHROMIUM, *flags, "--dump-dom", f"--screenshot={shot}", file.as_uri()]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert shot.is_file(), ran.stderr[-2000:]
        from matplotlib.image import imread

        self.dom = ran.stdout
        self.messages = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
        self.pixels = (np.asarray(imread(shot))[..., :3] * 255).round().astype(int)

    def count(self, colour: str) -> int:
        """The number of pixels that have nearly this colour."""
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((np.abs(self.pixels - wanted).max(-1) <= 3).sum())


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to open the page in")
def test_page_is_shown_by_a_browser(runs: Runs, tmp_path: Path) -> None:
    text = full_page(runs)
    shown = Shown(text, tmp_path / "shown")
    assert shown.messages == []
    words = Elements(shown.dom).words
    for text_part in ("Which one to use", "moons", "nce has the lowest eval/kl, 0.150 ± 0.050 (3 runs)", "Not counted"):
        assert text_part in words
    assert len(re.findall(r"<tr>", shown.dom)) == text.count("<tr>")
    # The pictures are drawn: one with the colour of the first group, one of a single grey.
    control = Shown(
        re.sub(r"data:image/[^\"]*", "data:image/png,", text).replace(
            "</main>", '<img src="http://127.0.0.1:9/"></main>'
        ),
        tmp_path / "control",
    )
    assert shown.count(charts.COLOURS[0]) > control.count(charts.COLOURS[0]) + 50
    assert shown.count("#0a0a0a") > control.count("#0a0a0a") + 5000
    # The browser refuses to fetch anything, and says so.
    assert any("Content Security Policy" in line for line in control.messages)
