"""Records of runs that were never made, for the tests of the claims."""

from pathlib import Path
from typing import Any

from ebm_cli.claims import Claim
from ebm_cli.runs.record import Record


def make_record(results: dict[str, Any], state: str = "finished", reason: str = "", **config: Any) -> Record:
    """A run with these results, config keys and choices of `method` and `dataset`."""
    choices = {key: config.pop(key) for key in ("method", "dataset") if key in config}
    return Record(Path("0"), state, 1, 1, 0.0, reason, choices, config, results, "", {})


def runs_of(method: str, *kls: float) -> list[Record]:
    """Runs of a method that reached these values of eval/kl, one for each seed."""
    return [make_record({"eval/kl": kl}, method=method, seed=seed) for seed, kl in enumerate(kls)]


def passed(claim: Claim, runs: list[Record]) -> list[bool | None]:
    """The verdict on each group of the runs; None for a group without runs."""
    return [verdict.passed for verdict in claim.judge(runs)]


def nce_run(n: int, error: float, nu: float = 1.0, **other: Any) -> Record:
    """A run to which the theory of noise contrastive estimation applies."""
    config = {
        "dataset": {"n_train": n, "noise_std": 0.0, "density": {"dim": 5}},
        "method": {"nu": nu, "redraw": False},
        "noise": {"widen": 1.5},
        "batch_size": n,
        **other,
    }
    choices = {"method": "nce", "noise": "gaussian", "energy": "quadratic", "dataset": "gaussian"}
    return Record(Path("0"), "finished", 1, 1, 0.0, "", choices, config, {"eval/log_density_mse": error}, "", {})
