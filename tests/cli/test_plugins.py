"""Launchers and sweepers that are not installed, and typos in them."""

import tomllib
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ebm_cli.cli import plugins
from ebm_cli.cli.plugins import PACKAGES, explain_missing_plugin, require_slurm
from ebm_cli.errors import UserError
from tests.support import Ebm, StandIn


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("hydra/sweeper=ax", "hydra/sweeper=ax: not installed; install it with: pip install hydra-ax-sweeper"),
        ("hydra/launcher=rq", "hydra/launcher=rq: not installed; install it with: pip install hydra-rq-launcher"),
        (
            "hydra/launcher=jobli",
            "hydra/launcher=jobli: no such option; did you mean joblib? (basic, joblib, ",
        ),
        ("hydra/sweeper=optna", "hydra/sweeper=optna: no such option; did you mean optuna? (ax, basic, nevergrad, "),
    ],
)
@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_a_missing_plugin_is_named_and_nothing_written(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, word: str, line: str, flags: tuple[str, ...]
) -> None:
    stand_in("train")
    ran = ebm("train", *flags, word, "seed=1")
    assert ran.err.startswith(f"ebm: {line}")
    assert len(ran.err.splitlines()) == 1
    assert (ran.code, list(tmp_path.iterdir())) == (1, [])


def test_extras_of_plugins_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [package for packages in PACKAGES.values() for package in packages.values() if "[" in package]
    extras = {package.strip("'").partition("[")[2].rstrip("]") for package in named}
    assert extras
    assert extras <= set(project["optional-dependencies"])


@pytest.mark.parametrize(("option", "extra"), [("joblib", "sweep"), ("submitit_slurm", "slurm"), ("optuna", "optuna")])
def test_a_plugin_of_an_extra_is_installed_by_it(option: str, extra: str) -> None:
    group = next(group for group, packages in PACKAGES.items() if option in packages)
    assert explain_missing_plugin(group, option, ["basic"]).endswith(f"pip install 'ebm-cli[{extra}]'")


def test_slurm_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    config = OmegaConf.create({"hydra": {"launcher": {"_target_": "hydra_plugins.x.SlurmLauncher"}}})
    with pytest.raises(UserError, match=r"not installed; install it with: pip install 'ebm-cli\[slurm\]'"):
        require_slurm(config)
    monkeypatch.setattr(plugins, "find_spec", lambda name: name)
    monkeypatch.setattr(plugins.shutil, "which", lambda name: "/bin/sbatch")
    require_slurm(config)
    monkeypatch.setattr(plugins.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="this machine has no Slurm"):
        require_slurm(config)
