"""The check that a built page loads nothing from elsewhere."""

from pathlib import Path

import pytest

from tests.site.loads import loads_of, main


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="http://pictures.example/a.png">',
        '<img src="a.png" srcset="b.png 1x, https://pictures.example/b.png 2x">',
        "<style>@font-face { src: url('https://fonts.example/a.woff2') }</style>",
        '<p style="background: url(https://pictures.example/c.png)">',
        '<pre class="mermaid"></pre>',
    ],
)
def test_load_from_elsewhere_is_found(html: str) -> None:
    assert len(loads_of(html)) == 1


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://arxiv.example/abs/1">paper</a>',
        '<link rel="canonical" href="https://ebm.example/">',
        '<link rel="stylesheet" href="assets/main.css"><script src="../x.js"></script><img src="a.png">',
        "<style>a { background: url(data:image/png;base64,AAAA) }</style>",
    ],
)
def test_links_and_own_files_are_no_load_from_elsewhere(html: str) -> None:
    assert loads_of(html) == []


def test_site_fails_by_its_style_sheet_or_without_pages(tmp_path: Path) -> None:
    assert main(tmp_path) == 1
    (tmp_path / "index.html").write_text('<img src="a.png">')
    assert main(tmp_path) == 0
    (tmp_path / "main.css").write_text('@import "https://fonts.example/css";')
    assert main(tmp_path) == 1
