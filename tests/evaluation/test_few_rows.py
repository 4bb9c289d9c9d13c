"""Few held-out rows: every metric group ends, with a reason where a number would mean nothing."""

import math
from pathlib import Path

import pytest
from torch import Tensor

from ebm_cli.datasets import File
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.overall import overall, with_overall
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.suite import GROUPS
from tests.evaluation.toys import small_evaluation
from tests.support import normal

NAMES = list(dict.fromkeys(name for name, _ in GROUPS))
OTHERS = ("an AUROC needs two", "the training rows are of one class")


def results_of(rows: Tensor, folder: Path) -> Results:
    """All metric groups on a file of these rows, its last column a class."""
    lines = [",".join([*(repr(x) for x in row), f"k{i % 2}"]) for i, row in enumerate(rows.tolist())]
    names = ",".join([*"abcdef"[: rows.shape[1]], "kind"])
    (folder / "rows.csv").write_text("\n".join([names, *lines]) + "\n")
    data = File(str(folder / "rows.csv"), label="kind", standardize=False)
    return small_evaluation(Quadratic((rows.shape[1],)), data, *NAMES, n_samples=20).results


@pytest.mark.parametrize("n_rows", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 8, 10)), 20])
@pytest.mark.parametrize("n_columns", [1, 2, 5])
def test_every_group_ends_on_a_file_of_few_rows(n_rows: int, n_columns: int, tmp_path: Path) -> None:
    found = results_of(normal(n_rows, n_columns, seed=1).float(), tmp_path)
    assert all(math.isfinite(x) for x in found.values.values() if isinstance(x, float))
    for key in ("nll_vs_gaussian", "ksd", "mmd", "feature_distance", "nn_ratio", "ood_auroc"):
        assert "too few" in found.absent[f"eval/{key}"] or found.absent[f"eval/{key}"].startswith(OTHERS)
    assert len({found.absent[f"eval/{key}"] for key in ("nll_vs_gaussian", "ksd", "ood_auroc")}) == 1
    assert not any("nan" in reason for reason in found.absent.values())
    assert overall(found).sentence.startswith("not judged: ")
    assert "too few" in overall(found).sentence
    assert "eval/overall" not in with_overall(found, overall(found)).values


def test_forty_held_out_rows_have_all_results(tmp_path: Path) -> None:
    found = results_of(normal(200, 2, seed=1).float(), tmp_path)
    assert {"eval/nll_vs_gaussian_se", "eval/mmd", "eval/feature_distance", "eval/nn_ratio"} <= found.values.keys()
    assert overall(found).word
