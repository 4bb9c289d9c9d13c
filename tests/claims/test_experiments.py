"""The experiments that are shipped: each claim selects runs that its sweep makes."""

from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ebm_cli.claims.base import group_runs
from ebm_cli.claims.judge import build_claims
from ebm_cli.cli.hydra_internals import grid_jobs
from ebm_cli.config.groups import conf_dir
from tests.claims.records import make_record

FOLDER = conf_dir() / "experiment"
EXPERIMENTS = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


@cache
def composed(*words: str) -> DictConfig:
    """Jobs that differ in values, not in chosen options, are composed as one."""
    return compose("train", list(words), return_hydra_config=True)


LONG = {"lecture/all_methods", "lecture/cd_cost", "lecture/fce_vs_nce", "paper/ica", "table_suite", "tables"}
"""Their many runs take seconds to compose; those of the other experiments are made the same way."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in EXPERIMENTS]
)
def test_shipped_experiment_makes_the_runs_of_its_claims(name: str) -> None:
    """Every selector of its claims selects a job of its sweep."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        swept = composed(f"experiment={name}").hydra.sweeper.params
        words = [f"{key}={value}" for key, value in (swept or {}).items() if "seed" not in key]
        jobs = []
        for job in grid_jobs(words):
            groups = [word for word in job if (conf_dir() / word.partition("=")[0]).is_dir()]
            cfg = composed(f"experiment={name}", *groups)
            own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
            own.merge_with_dotlist([word for word in job if word not in groups])
            config = OmegaConf.to_container(own, resolve=True)
            assert isinstance(config, dict)
            jobs.append(make_record({})._replace(hydra_choices=dict(cfg.hydra.runtime.choices), config=config))
    claims = build_claims(jobs[0].config["claims"], None)
    assert claims or jobs[0].config["measurement"]
    for claim in claims.values():
        for where in (getattr(claim, "where", None), getattr(claim, "beside", None)):
            assert all(group.runs for group in group_runs(jobs, where or {}))
    text = (FOLDER / f"{name}.yaml").read_text()
    assert all(word in text for word in (("# Source", "# Accepted", "# Takes") if "/" in name else ("Takes:",)))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("tables")])
def test_experiments_with_tables_stop_by_validation_rows(name: str) -> None:
    """Without it a network of many columns memorises its training rows, and log Z is lost."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for method in ("nce", "cd"):
            cfg = composed(f"experiment={name}", f"method={method}")
            assert cfg.patience is not None
            assert cfg.energy._target_ == "ebm_cli.energies.Tilted"
