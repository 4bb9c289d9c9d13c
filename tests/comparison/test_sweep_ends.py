"""The table at the end of a sweep of evaluations, or of samples."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from ebm_cli.comparison.sweep_ends import print_evaluations, print_samples
from tests.comparison.support import Runs


def job(folder: Path, name: str, results: dict[str, Any] | None, **typed: object) -> Path:
    """Directory of a job that was typed with these overrides."""
    run = folder / name
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps([f"{key}={value}" for key, value in typed.items()]))
    (run / ".hydra" / "config.yaml").write_text(json.dumps({key: str(value) for key, value in typed.items()}))
    if results is not None:
        (run / "results.json").write_text(json.dumps(results))
    return run


def lines(print_them: Any, jobs: list[Path]) -> list[str]:
    file = io.StringIO()
    print_them(jobs, Console(file=file, width=200))
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def test_evaluations_are_ranked_on_each_data_set(tmp_path: Path, runs: Runs) -> None:
    moons, rings = runs.write(), runs.write(dataset="rings")
    found = [
        {"eval/kl": 0.3, "eval/overall": "fair"},
        {"eval/kl": 0.1, "eval/overall": "close"},
    ]
    jobs = [job(tmp_path, str(i), values, checkpoint=moons, seed=i) for i, values in enumerate(found)]
    failed = job(tmp_path, "2", None, checkpoint=moons, seed=2)
    assert lines(print_evaluations, [*jobs, failed]) == [
        "job settings KL overall",
        "1 1 seed=1 0.1000 close",
        "2 0 seed=0 0.3000 fair",
    ]
    other = job(tmp_path, "3", {"eval/kl": 0.2}, checkpoint=rings, seed=3)
    assert [line for line in lines(print_evaluations, [*jobs, other]) if " " not in line] == ["moons", "rings"]
    assert lines(print_evaluations, jobs[:1]) == []


def test_samples_are_listed_with_their_places(tmp_path: Path) -> None:
    values = {"sampler/n_draws": 4000, "sampler/rhat": 1.002, "cost/seconds": 3.0}
    jobs = [job(tmp_path, "0", values, checkpoint="run", seed=0)]
    jobs += [job(tmp_path, "1", values | {"sampler/rhat": 2.5}, checkpoint="run", seed=1)]
    (jobs[0] / "samples.npz").touch()
    (jobs[1] / "samples").mkdir()
    assert lines(print_samples, jobs) == [
        "job settings draws R-hat took samples",
        f"0 seed=0 4 000 1.002 3 s {jobs[0]}/samples.npz",
        f"1 seed=1 4 000 2.500 not mixed 3 s {jobs[1]}/samples",
    ]
    assert lines(print_samples, jobs[:1]) == []
