"""Runs whose class was replaced are called by that class, and are another group of a comparison."""

from pathlib import Path
from typing import Any

import pytest

from ebm_cli.config.groups import conf_dir
from ebm_cli.runs.labels import class_path, labels, told_apart
from ebm_cli.runs.record import find
from ebm_cli.runs.stored_config import read_plain
from tests.comparison.support import Runs


def labels_of(choices: dict[str, Any], config: dict[str, Any], *folders: Path) -> dict[str, str]:
    """The labels of a run that has the choices, and options in folders of its own."""
    sources = [{"path": str(folder), "schema": "file", "provider": "command-line"} for folder in folders]
    return labels({"choices": choices, "config_sources": sources}, config)


def test_another_class_is_another_group(tmp_path: Path) -> None:
    """The control has the class that `conf/method/nce.yaml` names."""
    runs = Runs(tmp_path)
    for value, target in ((1.0, "ebm_cli.methods.NCE"), (2.0, "ebm_cli.methods.NCE"), (9.0, "mine.ImportanceML")):
        runs.write("nce", results={"eval/kl": value}, config={"method": {"_target_": target}})
    groups = runs.groups()
    assert {name: len(group.records) for name, group in groups.items()} == {"nce moons": 2, "ImportanceML moons": 1}
    assert [record.get("method") for record in find(tmp_path)] == ["nce", "nce", "ImportanceML"]


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("ebm_cli.methods.NCE", "nce"),
        ("ebm_cli.methods.formerly.NCE", "nce"),  # moved inside the package since
        ("ebm_cli.methods.CNCE", "CNCE"),
        ("mine.NCE", "NCE"),
        ("${other}", "nce"),
        (3, "nce"),
    ],
)
def test_label_is_the_option_or_its_replacement(target: Any, label: str) -> None:
    assert labels_of({"method": "nce"}, {"method": {"_target_": target}}) == {"method": label}


def test_data_are_called_by_their_density() -> None:
    choices = {"dataset": "gaussian", "dataset@eval.ood": "moons", "sampler@eval.sampler": "mala", "energy": None}
    synthetic = "ebm_cli.datasets.Synthetic"
    replaced = {"_target_": synthetic, "density": {"_target_": "mine.Logistic"}}
    moons = {"_target_": synthetic, "density": {"_target_": "ebm_cli.datasets.Moons"}}
    config = {"dataset": replaced, "eval": {"ood": moons, "sampler": {"_target_": "mine.CrankNicolson"}}}
    found = labels_of(choices, config)
    assert found == {"dataset": "Logistic", "dataset@eval.ood": "moons", "sampler@eval.sampler": "CrankNicolson"}


def test_class_of_a_group_without_an_option_is_its_label() -> None:
    choices = {"polish": None, "dataset@eval.ood": None, "experiment": None, "energy": "mlp"}
    logistic = {"_target_": "ebm_cli.datasets.Synthetic", "density": {"_target_": "mine.Logistic"}}
    config = {"polish": {"_target_": "mine.Polish"}, "eval": {"ood": logistic}, "energy": {"width": 8}}
    assert labels_of(choices, config) == {"polish": "Polish", "dataset@eval.ood": "Logistic", "energy": "mlp"}


def test_options_of_ones_own_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "energy").mkdir()
    option = tmp_path / "energy" / "ring.yaml"
    option.write_text("_target_: mine.Ring\n")
    ring, other = ({"energy": {"_target_": f"mine.{name}"}} for name in ("Ring", "Torus"))
    assert labels_of({"energy": "ring"}, ring, tmp_path) == {"energy": "ring"}
    assert labels_of({"energy": "ring"}, other, tmp_path) == {"energy": "Torus"}
    assert labels_of({"energy": "ring"}, other) == {"energy": "ring"}  # the folder is gone
    option.write_text("[1")
    assert labels_of({"energy": "ring"}, other, tmp_path) == {"energy": "ring"}


@pytest.mark.parametrize("folder", ["method", "dataset", "energy", "sampler", "noise", "optimizer", "schedule"])
def test_shipped_options_keep_their_names(folder: str) -> None:
    """Another class in its place shows that its YAML was read."""
    for file in (conf_dir() / folder).glob("*.yaml"):
        written = read_plain(file.read_text(encoding="utf-8"))
        config = {folder: written if "_target_" in written else written[folder]}
        assert labels_of({folder: file.stem}, config) == {folder: file.stem}
        assert labels_of({folder: file.stem}, {folder: {"_target_": "mine.Own"}}) == {folder: "Own"}


@pytest.mark.parametrize("sources", [None, 3, [3], [{"path": 3}]])
def test_damaged_list_of_folders_leaves_the_choices(sources: Any) -> None:
    own = {"method": {"_target_": "mine.Own"}}
    assert labels({"choices": {"method": "nce"}, "config_sources": sources}, own) == {"method": "Own"}


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["nce", "a.Ring", "a.Ring", "b.Disc"], ["nce", "Ring", "Ring", "Disc"]),
        (["a.Ring", "b.Ring"], ["a.Ring", "b.Ring"]),
        (["a.x.Ring", "b.x.Ring", "b.y.Ring"], ["a.x.Ring", "b.x.Ring", "y.Ring"]),
        (["a.Ring", "b.a.Ring", "Ring", "String"], ["a.Ring", "b.a.Ring", "Ring", "String"]),
    ],
)
def test_paths_are_shown_as_far_as_they_differ(paths: list[str], shown: list[str]) -> None:
    assert told_apart(paths) == shown


def test_path_of_a_label_is_that_of_its_class() -> None:
    assert class_path("Ring", {"_target_": "a.b.Ring"}) == "a.b.Ring"
    assert class_path("Ring", {"_target_": "a.Data", "density": {"_target_": "c.Ring"}}) == "c.Ring"
    assert class_path("mlp", {"_target_": "ebm_cli.energies.MLP"}) == class_path("mlp", None) == "mlp"
