"""From configs to objects: every shipped config composes and has_type its class, and nothing foreign is ever called."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.build import build
from ebm_cli.config.groups import conf_dir, file_keys, group_options, search_path, verb_groups
from ebm_cli.config.schema import CHANGEABLE_ON_RESUME, SCHEMAS
from ebm_cli.config.trust import import_class, require_trusted, shipped_torch_targets
from ebm_cli.config.type_checks import describe_type, has_type
from ebm_cli.config.validate import validate
from ebm_cli.errors import UserError
from tests.image_files import put_image_sets

PROVIDED = {"shape", "data", "load_member", "steps", "params", "optimizer", "total_steps", "T_max", "max_lr"}
"""What the run gives a constructor by name, so that no YAML does."""

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


# --- the shipped configs ----------------------------------------------------------------------------------------------


NEEDS = {"dataset=file": "dataset.path=rows.csv", "energy=sum": "energy.checkpoints=[a,b]"}
"""What an option asks of its user."""


@pytest.mark.parametrize("word", [f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_and_is_valid(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("".join(f"{i},{i * i % 7}\n" for i in range(20)))
    put_image_sets(Path("data"))
    cfg = compose("train", [word, *([NEEDS[word]] if word in NEEDS else [])])
    group = word.partition("=")[0]
    assert group == "experiment" or isinstance(cfg[group]._target_, str)
    validate(cfg, "train")


@pytest.mark.parametrize("energy", ["conv", "resnet"])
def test_two_options_together_have_a_say_that_a_person_overrules(energy: str) -> None:
    words = ["dataset=digits", f"energy={energy}"]
    assert compose("train", [*words, "method=sm"]).batch_size == 64
    assert compose("train", [*words, "method=sm", "batch_size=17"]).batch_size == 17
    assert compose("train", [*words, "method=ssm"]).batch_size == 512


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
    """Experiments change some keys of the options that they choose; an option has all of its class's."""
    return (conf_dir() / "experiment") in path.parents


@pytest.mark.parametrize(("path", "node"), NODES, ids=[f"{path.parent.name}/{path.stem}" for path, _ in NODES])
def test_keys_are_the_constructors(path: Path, node: Mapping[str, Any]) -> None:
    """The same names; and the same defaults, unless several configs are presets of one class."""
    import inspect

    parameters = inspect.signature(import_class(node["_target_"], path.stem, None)).parameters
    given = {key: value for key, value in node.items() if key != "_target_"}
    named = {name for name, found in parameters.items() if found.kind not in (found.VAR_KEYWORD, found.VAR_POSITIONAL)}
    assert set(given) <= named
    if node["_target_"].startswith("ebm_cli.") and not is_experiment(path):
        assert named - PROVIDED == set(given)
        for key, value in given.items():
            default = parameters[key].default
            simple = default is None or isinstance(default, int | float | str | tuple)
            if node["_target_"] not in SHARED and simple:
                assert value == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_configs_are_short_and_commented(path: Path) -> None:
    lines = path.read_text().splitlines()
    # Hydra's own directive is not for a reader.
    assert sum("# @package" not in line for line in lines) <= 12 or is_experiment(path)
    assert any(line.startswith("# ") and "@" not in line for line in lines[:2])
    assert [key.name for key in file_keys(path) if not key.meaning] == []


@pytest.mark.parametrize("verb", SCHEMAS)
def test_the_verbs_keys_are_its_schemas(verb: str) -> None:
    config = OmegaConf.load(conf_dir() / f"{verb}.yaml")
    assert isinstance(config, DictConfig)
    assert set(config) - {"defaults", "hydra"} == {field.name for field in fields(SCHEMAS[verb])}
    for field in fields(SCHEMAS[verb]):
        if isinstance(field.type, type) and is_dataclass(field.type):
            assert set(config[field.name]) == {inner.name for inner in fields(field.type)}
    assert [key.name for key in file_keys(conf_dir() / f"{verb}.yaml") if not key.meaning] == []


def test_what_may_be_continued_are_keys() -> None:
    assert {field.name for field in fields(SCHEMAS["train"])} >= CHANGEABLE_ON_RESUME


def test_an_option_chosen_later_wins() -> None:
    """train.yaml's own values yield to those of a chosen option, and both to what is typed."""
    listed = yaml.safe_load((conf_dir() / "train.yaml").read_text())["defaults"]
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    assert names[0] == "_self_"
    order = [names.index(name) for name in ("sampler", "optimizer", "schedule", "method", "experiment")]
    assert order == sorted(order)
    assert compose("train", ["method=fce"]).noise._target_ == "ebm_cli.densities.CouplingFlow"
    assert compose("train", ["method=fce", "noise=uniform"]).noise._target_ == "ebm_cli.densities.Uniform"


# --- build ------------------------------------------------------------------------------------------------------------


class Wheel:
    def __init__(self, radius: float) -> None:
        if not radius > 0:
            raise ValueError(f"radius must be > 0, got {radius}")
        self.radius = radius


class Car:
    def __init__(
        self,
        shape: tuple[int, ...],
        wheel: Wheel,
        gears: list[float],
        spares: list[Wheel] | None = None,
        size: tuple[int, int] = (1, 2),
        colour: Literal["red", "blue"] = "red",
    ) -> None:
        self.shape, self.wheel, self.gears, self.spares = shape, wheel, gears, spares
        self.size, self.colour = size, colour


HERE = __name__


def car(**values: Any) -> DictConfig:
    wheel = {"_target_": f"{HERE}.Wheel", "radius": 1}
    node = {"_target_": f"{HERE}.Car", "wheel": "${wheel}", "gears": [1, 2.5], **values}
    return OmegaConf.create({"wheel": wheel, "n": 3, "car": node})


def make(cfg: DictConfig, **context: Any) -> Any:
    return build(cfg.car, "car", Car, trust=None, **({"shape": (2,)} | context))


def test_build_gives_the_object_with_its_parts() -> None:
    spare = {"_target_": f"{HERE}.Wheel", "radius": 5}
    built = make(car(spares=[spare, spare], size=["${n}", 4], colour="blue"))
    assert (built.shape, built.wheel.radius, built.gears, built.size, built.colour) == (
        (2,),
        1,
        [1, 2.5],
        (3, 4),
        "blue",
    )
    assert [wheel.radius for wheel in built.spares] == [5, 5]


def test_a_key_goes_before_what_the_run_provides() -> None:
    assert make(car(shape=[7])).shape == (7,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colr": "red"}, "car.colr: no such key in Car; did you mean colour?"),
        ({"colour": "blu"}, "car.colour must be one of red, blue, got 'blu'; did you mean blue?"),
        ({"gears": 3}, "car.gears must be a list of numbers, got 3"),
        ({"gears": [1, "x"]}, "car.gears must be a list of numbers, got [1, 'x']"),
        ({"size": [1, 2, 3]}, "car.size must be a list of whole numbers, got [1, 2, 3]"),
        ({"gears": "???"}, "car.gears is required"),
        ({"wheel": {"radius": 2}}, "car.wheel must be a Wheel, got {'radius': 2}"),
        ({"wheel": {"_target_": f"{HERE}.Wheel", "radius": 0}}, "car.wheel.radius must be > 0, got 0"),
        ({"wheel": {"_target_": f"{HERE}.Wheel"}}, "car.wheel.radius is required"),
        ({"_partial_": True}, "car._partial_: not a key; only _target_ may begin with an underscore"),
        ({"_args_": [1]}, "car._args_: not a key; only _target_ may begin with an underscore"),
        ({"_target_": f"{HERE}.Wheel", "wheel": "???"}, "car.wheel is required"),
    ],
)
def test_what_build_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        make(car(**values))
    assert str(refused.value) == message


def test_a_referenced_node_keeps_its_own_name() -> None:
    cfg = car()
    cfg.wheel.radius = -1
    with pytest.raises(UserError, match=r"^wheel\.radius must be > 0, got -1$"):
        make(cfg)


def test_what_the_run_does_not_provide_is_required() -> None:
    with pytest.raises(UserError, match=r"^car\.shape is required$"):
        build(car().car, "car", trust=None)


def test_build_checks_the_kind() -> None:
    with pytest.raises(UserError, match=r"must name a class of int or str$"):
        build(car().wheel, "wheel", (int, str), trust=None)


@pytest.mark.parametrize(
    ("value", "hint", "is_fitting"),
    [
        (1, float, True), (1.5, float, True), (True, float, False), (float("nan"), float, False), ("1", float, False),
        (1, int, True), (1.0, int, False), (True, int, False), (True, bool, True), (1, bool, False), ("a", str, True),
        (None, float | None, True), (2, float | None, True), ("a", float | None, False), (None, float, False),
        ([1, 2], list[int], True), ([1, 2.5], list[int], False), (3, list[int], False), ("ab", list[str], False),
        ([1, 2], tuple[int, ...], True), ([1, 2], tuple[int, int], True), ([1], tuple[int, int], False),
        ([1], Sequence[int], True), ([], list[int], True), ("a", Literal["a"], True), (True, Literal[1], False),
        ({"a": 1}, dict[str, int], True), (1, Any, True), (object(), dataclass, True),
    ],
)  # fmt: skip
def test_fits(value: Any, hint: Any, is_fitting: bool) -> None:
    assert has_type(value, hint) is is_fitting


def test_describe() -> None:
    assert describe_type(float | None) == "a number or null"
    assert describe_type(int | Literal["auto"]) == "a whole number or auto"
    assert describe_type(list[str]) == "a list of texts"


# --- stored configs ---------------------------------------------------------------------------------------------------


def test_the_shipped_torch_classes() -> None:
    assert {"torch.optim.Adam", "torch.optim.lr_scheduler.OneCycleLR"} <= shipped_torch_targets()
    assert all(isinstance(import_class(target, "x", ()), type) for target in shipped_torch_targets())


FOREIGN = [
    "os.system", "subprocess.Popen", "builtins.eval", "functools.partial", "hydra.utils.call", "logging.os.system",
    "torch.hub.load", "torch.load", "torch.nn.Linear", "torch.optim.adam.Adam", "torch.serialization.os.system",
    "ebm_cli_evil.Energy", "ebm_clix.Energy", "", "Energy", "ebm_cli.", ".os", "ebm_cli..config",
    "ebm_cli.a b", 3, None,
    "ebm_cli.config.trust.importlib.import_module", "ebm_cli.config.validate.Path",
    "ebm_cli.config.validate.DictConfig",
    "ebm_cli.config.build.build", "ebm_cli.config.validate", "ebm_cli.datasets.base.torch.nn.Linear",
    "ebm_cli.energies.Energy",
    "ebm_cli.energies.MLP.__class__", "ebm_cli.energies.MLP.forward.__globals__", "ebm_cli.nothing.Here",
]  # fmt: skip


@pytest.mark.parametrize("target", FOREIGN)
def test_a_stored_config_cannot_name_it(target: Any) -> None:
    with pytest.raises(UserError):
        build({"_target_": target}, "energy")


def test_a_foreign_package_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_package.py").write_text("class Energy: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "foreign_package.Energy"}
    for refuse in (lambda: build(node, "energy"), lambda: require_trusted({"energy": node})):
        with pytest.raises(UserError, match=r"add trust=\[foreign_package\]$"):
            refuse()
    assert "foreign_package" not in sys.modules
    require_trusted({"energy": node}, ["foreign_package"])
    assert type(build(node, "energy", trust=["foreign_package"])).__name__ == "Energy"


@pytest.mark.parametrize(
    "config",
    [
        {"a": {"b": [{"c": {"_target_": "os.system"}}]}},
        {"a": "${oc.env:HOME}"},
        {"a": ["x", "${b}"]},
        {"_target_": "os.system"},
    ],
)
def test_a_stored_config_is_searched_to_its_depth(config: Any) -> None:
    with pytest.raises(UserError):
        require_trusted(config)


def test_every_default_config_may_be_stored() -> None:
    stored = OmegaConf.to_container(compose("train"), resolve=True)
    require_trusted(stored)
