"""Keys of launchers and sweepers that are typed as keys of the verb."""

import pytest

from ebm_cli.cli.plugin_keys import explain_plugin_key
from ebm_cli.config.groups import search_path

OPTUNA = "it is one of hydra/sweeper=optuna: type "
SEARCHED = ", and what to search, such as 'optimizer.lr=interval(1e-4,1e-2)'"
SLURM = "it is one of hydra/launcher=slurm: type "


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["n_trials=3"], f"{OPTUNA}-m hydra/sweeper=optuna hydra.sweeper.n_trials=3{SEARCHED}"),
        (["-m", "seed=0,1", "n_trials=3"], f"{OPTUNA}hydra/sweeper=optuna hydra.sweeper.n_trials=3"),
        (["-m", "+study_name=x"], f"{OPTUNA}hydra/sweeper=optuna hydra.sweeper.study_name=x{SEARCHED}"),
        (["-m", "hydra/sweeper=optuna", "n_trials=3"], f"{OPTUNA}hydra.sweeper.n_trials=3{SEARCHED}"),
        (["sweeper.pruner=none"], f"{OPTUNA}-m hydra/sweeper=optuna hydra.sweeper.pruner=none{SEARCHED}"),
        (["timeout_min=5"], f"{SLURM}-m hydra/launcher=slurm hydra.launcher.timeout_min=5"),
        (["partition=a b"], f"{SLURM}-m hydra/launcher=slurm 'hydra.launcher.partition=a b'"),
        (["n_jobs=2"], "the jobs of a sweep that run at a time are -m jobs=2, with several values of a key"),
    ],
)
def test_key_of_a_plugin_is_shown_as_it_is_typed(typed: list[str], words: str) -> None:
    key = typed[-1].partition("=")[0].lstrip("+")
    said = explain_plugin_key(key, typed, search_path())
    assert said is not None
    assert said.startswith(f"{key}: no such key")
    assert said.endswith(words)


@pytest.mark.parametrize("key", ["stepz", "energy.n_trials", "launcher.n_trials", "hydra.launcher.n_jobs", "trials"])
def test_control_other_keys_are_no_keys_of_a_plugin(key: str) -> None:
    assert explain_plugin_key(key, [f"{key}=3"], search_path()) is None
