"""The shipped configs: every option composes, is valid, has its constructor's keys and a comment for each."""

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.groups import conf_dir, file_keys, group_options, search_path, verb_groups
from ebm_cli.config.schema import CHANGEABLE_ON_RESUME, SCHEMAS
from ebm_cli.config.trust import import_class
from ebm_cli.config.validate import validate
from tests.image_files import put_image_sets
from tests.river_package import put_river

PROVIDED = {"shape", "data", "load_member", "params", "optimizer", "total_steps", "T_max", "max_lr"}
"""Constructor parameters that the run provides by name, so that no YAML gives them."""

OPTIONS = [
    (group.folder, option)
    for group in verb_groups("train", search_path())
    if group.name == group.folder
    for option in group_options(group.folder, search_path())
]


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


NEEDS = {"dataset=file": "dataset.path=rows.csv", "energy=sum": "energy.checkpoints=[a,b]"}
NEEDS |= {"experiment=tables_diamonds": "dataset.path=rows.csv"}
"""Option → the override that it requires."""


@pytest.mark.parametrize("word", [f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_and_is_valid(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("".join(f"{i / 2},{i * i % 7}\n" for i in range(20)))
    put_image_sets(Path("data"))
    put_river(tmp_path / "package", monkeypatch)
    cfg = compose("train", [word, *([NEEDS[word]] if word in NEEDS else [])])
    group = word.partition("=")[0]
    assert group == "experiment" or isinstance(cfg[group]._target_, str)
    validate(cfg, "train")


@pytest.mark.parametrize("energy", ["conv", "resnet"])
def test_pairing_sets_defaults_that_overrides_replace(energy: str) -> None:
    words = ["dataset=digits", f"energy={energy}"]
    assert compose("train", [*words, "method=sm"]).batch_size == 64
    assert compose("train", [*words, "method=sm", "batch_size=17"]).batch_size == 17
    assert compose("train", [*words, "method=ssm"]).batch_size == 384


def nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping with a `_target_`, at any depth."""
    if isinstance(tree, Mapping):
        if "_target_" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


FILES = sorted(path for group in {group for group, _ in OPTIONS} for path in (conf_dir() / group).rglob("*.yaml"))
NODES = [(path, node) for path in FILES for node in nodes(yaml.safe_load(path.read_text()))]
SHARED = {target for target, n in Counter(node["_target_"] for _, node in NODES).items() if n > 1}


def is_experiment(path: Path) -> bool:
    """True if a file changes some keys of options, as experiments do; an option has all keys of its class."""
    return (conf_dir() / "experiment") in path.parents


@pytest.mark.parametrize(("path", "node"), NODES, ids=[f"{path.parent.name}/{path.stem}" for path, _ in NODES])
def test_keys_are_the_parameters_of_the_constructor(path: Path, node: Mapping[str, Any]) -> None:
    """The same names; and the same defaults, unless several configs are presets of one class."""
    parameters = inspect.signature(import_class(node["_target_"], path.stem, None)).parameters
    given = {key: value for key, value in node.items() if key not in ("_target_", "defaults")}
    # An option of another group inside this one: `/sampler@kernel: mala` is the key `kernel`.
    chosen = [name.partition("@")[2] for entry in node.get("defaults", []) if isinstance(entry, dict) for name in entry]
    given |= {name: f"${{.{name}}}" for name in chosen if name}
    named = {name for name, found in parameters.items() if found.kind not in (found.VAR_KEYWORD, found.VAR_POSITIONAL)}
    assert set(given) <= named
    if node["_target_"].startswith("ebm_cli.") and not is_experiment(path):
        assert named - PROVIDED == set(given)
        for key, value in given.items():
            default = parameters[key].default
            simple = default is None or isinstance(default, int | float | str | tuple)
            is_copy = str(value).startswith("${.")
            if node["_target_"] not in SHARED and simple and not is_copy:
                assert value == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_configs_are_short_and_commented(path: Path) -> None:
    lines = path.read_text().splitlines()
    # A directive for Hydra does not count; files and chains differ in many ways, each with a key.
    most = 20 if path.stem in ("file", "cd", "pcd") or path.parent.name == "polish" else 13
    assert sum("# @package" not in line for line in lines) <= most or is_experiment(path)
    assert any(line.startswith("# ") and "@" not in line for line in lines[:2])
    assert [key.name for key in file_keys(path) if not key.meaning] == []


@pytest.mark.parametrize("verb", SCHEMAS)
def test_keys_of_a_verb_are_those_of_its_schema(verb: str) -> None:
    config = OmegaConf.load(conf_dir() / f"{verb}.yaml")
    assert isinstance(config, DictConfig)
    assert set(config) - {"defaults", "hydra"} == {field.name for field in fields(SCHEMAS[verb])}
    for field in fields(SCHEMAS[verb]):
        if isinstance(field.type, type) and is_dataclass(field.type):
            assert set(config[field.name]) == {inner.name for inner in fields(field.type)}
    assert [key.name for key in file_keys(conf_dir() / f"{verb}.yaml") if not key.meaning] == []


def test_keys_changeable_on_resume_exist() -> None:
    assert {field.name for field in fields(SCHEMAS["train"])} >= CHANGEABLE_ON_RESUME


def test_option_chosen_later_wins() -> None:
    """The values of a chosen option replace those of train.yaml, and an override replaces both."""
    listed = yaml.safe_load((conf_dir() / "train.yaml").read_text())["defaults"]
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    assert names[0] == "_self_"
    order = [names.index(name) for name in ("sampler", "optimizer", "schedule", "method", "experiment")]
    assert order == sorted(order)
    assert compose("train", ["method=fce"]).noise._target_ == "ebm_cli.densities.CouplingFlow"
    assert compose("train", ["method=fce", "noise=uniform"]).noise._target_ == "ebm_cli.densities.Uniform"
