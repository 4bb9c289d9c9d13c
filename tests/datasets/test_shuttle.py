"""Readings of a shuttle: normal rows to train on, and anomalies apart from them."""

import json
import sys
from pathlib import Path

import pytest
import torch

from ebm_cli.datasets import Dataset, Shuttle
from ebm_cli.datasets.io.package_files import package_file
from tests.river_package import put_river
from tests.support import TINY, Ebm, no_pictures


def all_rows(data: Dataset) -> list[tuple[float, ...]]:
    parts = [data.standardizer.to_data_units(data.reference), data.validation(999), data.held_out(999)]
    return sorted(map(tuple, torch.cat(parts).round().tolist()))


def test_normal_rows_and_anomalies_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = put_river(tmp_path, monkeypatch)
    for kind, right in (("normal", rows[rows[:, 9] == 0]), ("anomalies", rows[rows[:, 9] == 1]), ("all", rows)):
        data = Shuttle(kind, dequantise=False)
        assert all_rows(data) == sorted(map(tuple, right[:, :9].astype(float).tolist()))
        assert data.is_table
        assert data.column_names == tuple(f"f{j}" for j in range(1, 10))
        assert (data.labelled("train", 5) is None, data.class_names is None) == (kind != "all",) * 2


def test_all_rows_have_the_two_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_river(tmp_path, monkeypatch)
    data = Shuttle("all", dequantise=False)
    labelled = data.labelled("train", 999)
    assert labelled is not None
    assert data.class_names == ("normal", "anomaly")
    assert torch.equal(labelled.labels == 1, labelled.x.amin(1) >= 100)


def test_whole_numbers_are_dequantised_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = put_river(tmp_path, monkeypatch)
    held_out = Shuttle().held_out(999)
    assert bool((held_out != held_out.round()).all())
    normal = set(map(tuple, rows[rows[:, 9] == 0, :9].astype(float).tolist()))
    assert set(map(tuple, held_out.floor().tolist())) < normal


def test_shuttle_without_river_says_how_to_install_it(ebm: Ebm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "river", None)
    ran = ebm("train", "dataset=shuttle")
    assert ran.code == 1
    assert ran.err == "ebm: dataset: needs river, which is not installed: pip install 'ebm-cli[tables]'\n"
    assert list(Path().iterdir()) == []


def test_package_without_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_river(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"^needs datasets/none\.csv, which this version of river lacks: pip install"):
        package_file("river", "datasets/none.csv", "tables")


@pytest.mark.slow
def test_energy_of_normal_rows_is_tested_by_the_anomalies(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anomalies are 100 larger in data units; in units of their own they would look like normal rows."""
    put_river(tmp_path / "package", monkeypatch)
    no_pictures(monkeypatch)
    words = ["dataset=shuttle", "dataset@eval.ood=shuttle", "eval.ood.rows=anomalies", "eval.ood.test_fraction=0.8"]
    ran = ebm("train", *TINY, *words, "dataset.test_fraction=0.3", "energy=tilted", "steps=2", "metrics=[ood]")
    assert (ran.code, ran.err) == (0, "")
    [results] = Path().glob("outputs/train/*/*/results.json")
    assert json.loads(results.read_text())["eval/ood_auroc_other"] == 1.0


def test_rows_of_the_real_package_are_as_published() -> None:
    pytest.importorskip("river")
    assert Shuttle("normal").n_train == 45_586 - round(0.1 * 45_586) - round(0.2 * 45_586)
    anomalies = Shuttle("anomalies", dequantise=False)
    assert len(all_rows(anomalies)) == 3511
