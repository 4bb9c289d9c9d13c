"""Trust: a stored config names no foreign class, and nothing foreign is even imported."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ebm_cli.config.build import build
from ebm_cli.config.groups import conf_dir
from ebm_cli.config.trust import foreign_packages, import_class, require_trusted, shipped_torch_targets
from ebm_cli.errors import UserError


def test_shipped_torch_classes_are_trusted() -> None:
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
def test_stored_config_cannot_name_a_foreign_class(target: Any) -> None:
    with pytest.raises(UserError):
        build({"_target_": target}, "energy")


def test_foreign_packages_are_those_that_trust_has_to_list() -> None:
    own, torch_class = {"_target_": "ebm_cli.energies.MLP"}, {"_target_": "torch.optim.Adam"}
    foreign = {"energy": {"_target_": "my_package.energies.Ring"}, "claims": [{"_target_": "others.Claim"}]}
    assert foreign_packages({"energy": own, "optimizer": torch_class, "seed": 1}) == []
    assert foreign_packages({**foreign, "method": own}) == ["my_package", "others"]
    require_trusted(foreign, foreign_packages(foreign))


def test_foreign_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_package.py").write_text("class Energy: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "foreign_package.Energy"}
    for refuse in (lambda: build(node, "energy"), lambda: require_trusted({"energy": node})):
        with pytest.raises(UserError, match=r"add 'trust=\[foreign_package\]'$"):
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
def test_require_trusted_searches_nested_nodes(config: Any) -> None:
    with pytest.raises(UserError):
        require_trusted(config)


def test_default_config_may_be_stored() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        stored = OmegaConf.to_container(compose("train"), resolve=True)
    require_trusted(stored)
