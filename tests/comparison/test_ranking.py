"""The table at the end of a sweep: best first, failures with their reason, and the command to type next."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ebm_cli.comparison.ranking import compare_command, differing, print_ranking, rank
from ebm_cli.runs.record import find
from tests.comparison.support import Runs


def typed(run: Path, *words: str) -> None:
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps(list(words)))


def printed(runs: Runs) -> list[str]:
    file = io.StringIO()
    print_ranking(runs.root, sorted(runs.root.iterdir()), Console(file=file, width=200))
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def test_runs_are_ranked_by_what_most_of_them_have(runs: Runs) -> None:
    for value in (0.3, 0.1, 0.2):
        runs.write(results={"eval/kl": value, "eval/c2st": 1 - value})
    runs.write(results={"eval/c2st": 0.5})
    [ranking] = rank(find(runs.root))
    assert ranking.column is not None
    assert (ranking.dataset, ranking.column.key) == ("", "eval/c2st")
    # A classifier test is best at one half, a divergence at 0.
    assert [record.path.name for record in ranking.ranked] == ["003", "000", "002", "001"]
    runs.write(results={"eval/kl": 0.05})
    [ranking] = rank(find(runs.root))
    assert [record.path.name for record in ranking.ranked] == ["004", "001", "002", "000"]
    assert [record.path.name for record in ranking.others] == ["003"]


def test_data_sets_are_ranked_apart(runs: Runs) -> None:
    runs.write_kls("nce", 0.3, 0.1)
    runs.write_kls("nce", 0.2, 0.4, dataset="rings")
    found = {ranking.dataset: [record.path.name for record in ranking.ranked] for ranking in rank(find(runs.root))}
    assert found == {"moons": ["001", "000"], "rings": ["002", "003"]}


def test_the_table_shows_settings_results_and_reasons(runs: Runs) -> None:
    typed(runs.write("nce", results={"eval/kl": 0.3, "eval/overall": "fair", "cost/seconds": 5.0}), "lr=1", "seed=1")
    typed(runs.write("nce", results={"eval/kl": 0.1, "eval/overall": "close", "cost/seconds": 70.0}), "lr=1", "seed=2")
    typed(runs.write("nce", state="diverged", reason="the loss is not finite"), "lr=1", "seed=3")
    assert printed(runs) == [
        "job settings KL overall trained in",
        "1 001 seed=2 0.1000 close 1 min 10 s",
        "2 000 seed=1 0.3000 fair 5 s",
        "diverged job 002 the loss is not finite",
        f"$ ebm compare runs={runs.root}",
    ]


def test_trials_have_four_digits_and_stopped_ones_are_called_so(runs: Runs) -> None:
    typed(runs.write("nce", results={"eval/kl": 0.3}), "lr=0.0012520653814999472", "seed=1000000001")
    typed(runs.write("nce", results={"eval/kl": 0.1}), "lr=1e-05", "seed=1")
    typed(runs.write("nce", state="interrupted", reason="stopped early at step 400: worse"), "lr=3.5", "seed=2")
    assert printed(runs)[1:4] == [
        "1 001 lr=1e-05 seed=1 0.1000",
        "2 000 lr=0.001252 seed=1000000001 0.3000",
        "stopped early job 002 at step 400: worse",
    ]


def test_a_single_job_is_no_ranking(runs: Runs) -> None:
    runs.write_kls("nce", 0.1)
    assert printed(runs) == []


def test_the_command_is_short_where_auto_groups_alike(runs: Runs) -> None:
    runs.write_kls("nce", 0.1, 0.2)
    records, sweep = find(runs.root), Path("sweep")
    assert compare_command(sweep, records, ["method", "seed"]) == "ebm compare runs=sweep"
    words = [{"energy.width": "8", "seed": "1", "lr": "1"}, {"energy.width": "9", "seed": "2", "lr": "1"}]
    assert differing(words) == ["energy.width", "seed"]
    assert compare_command(sweep, records, differing(words)) == "ebm compare runs=sweep"


@pytest.mark.parametrize(
    ("key", "values", "by"),
    [("energy.width", (8, 9), ""), ("seed", (1, 2), ""), ("threads", (1, 2), " 'by=[threads]'")],
)
def test_the_command_has_keys_that_auto_does_not_find(key: str, values: tuple[int, int], by: str, runs: Runs) -> None:
    """Keys of the machine make no group unless they are named."""
    for value in values:
        config: dict[str, Any] = {"energy": {"width": value}} if key == "energy.width" else {key: value}
        runs.write(seed=0, config=config, results={"eval/kl": 0.1})
    assert compare_command(Path("sweep"), find(runs.root), [key]) == f"ebm compare runs=sweep{by}"
