"""Pictures of trained models on the page of a comparison."""

import re
from pathlib import Path

import pytest

from ebm_cli.comparison import charts
from tests.comparison.support import Elements, png
from tests.support import TINY, Ebm, no_pictures


@pytest.mark.slow
def test_panels_are_drawn_copied_or_explained(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Drawn in two dimensions, copied from training in three, explained for a damaged checkpoint."""
    no_pictures(monkeypatch)
    words = [*TINY, "steps=2", "metrics=[score]"]
    assert ebm("train", "-m", *words, "method=dsm,nce", "hydra.sweep.dir=two").code == 0
    assert ebm("train", *words, "dataset=gaussian", "dataset.density.dim=3", "hydra.run.dir=two/2").code == 0
    (tmp_path / "two/2/figures").mkdir()
    (tmp_path / "two/2/figures/final.png").write_bytes(png(7))
    broken = tmp_path / "two/1/checkpoints/last.pt"
    broken.write_bytes(broken.read_bytes()[:-50])
    ran = ebm("compare", "runs=two", "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    text = (tmp_path / "out/compare.html").read_text()
    images = [attrs for tag, attrs in Elements(text).tags if tag == "img"]
    drawn = [attrs["alt"] for attrs in images if "against" not in attrs["alt"]]
    assert drawn == ["nce: data and samples", "data: density", "data: samples", "dsm: density", "dsm: samples"]
    assert images[0]["src"] == charts.data_uri(png(7))
    sizes = [len(attrs["src"]) for attrs in images if attrs["alt"] in drawn]
    assert all(size > 5000 for size in sizes[1:])
    assert re.search(r"picture is missing, everything else is complete: checkpoint=\S+last.pt", Elements(text).words)
