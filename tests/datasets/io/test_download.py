"""Downloads: complete and verified, or nothing."""

from pathlib import Path

import pytest

from ebm_cli.datasets.io.download import fetch
from tests.datasets.web import Served, md5


def test_fetch_refuses_half_a_file_and_leaves_nothing(served: Served, tmp_path: Path):
    served["x"] = bytes(3_000_000)
    served.is_cut = True
    with pytest.raises(OSError, match=r"^download=true: http://\S+/x: "):
        fetch(served.url + "x", tmp_path / "x", md5(served["x"]))
    assert list(tmp_path.iterdir()) == []
    served.is_cut = False
    fetch(served.url + "x", tmp_path / "x", md5(served["x"]))
    assert (tmp_path / "x").read_bytes() == served["x"]


def test_fetch_leaves_no_folder_without_an_answer(served: Served, tmp_path: Path):
    for url, why in [(f"{served.url}y", "HTTP Error 404"), ("http://127.0.0.1:1/y", "urlopen error")]:
        with pytest.raises(OSError, match=rf"^download=true: {url}: .*{why}"):
            fetch(url, tmp_path / "new" / "y", md5(b""))
    assert list(tmp_path.iterdir()) == []


def test_fetch_refuses_addresses_outside_the_web(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(OSError, match=r"is not an http or https address$"):
        fetch((tmp_path / "secret").as_uri(), tmp_path / "copy", md5(b"x"))
    assert not (tmp_path / "copy").exists()
