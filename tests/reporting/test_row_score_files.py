"""Files of the scores of rows."""

import csv
import math
from pathlib import Path

import numpy as np
import torch

from ebm_cli.evaluation.row_scores import RowScores
from ebm_cli.reporting.row_score_files import write_scores

SCORES = RowScores(
    torch.tensor([1.0, 1 / 3, math.nan], dtype=torch.float64),
    torch.tensor([-2.0, -4 / 3, math.nan], dtype=torch.float64),
    0.01,
    torch.tensor([0.005, 0.5, math.nan], dtype=torch.float64),
)


def test_both_files_have_every_score(tmp_path: Path) -> None:
    """A missing score is an empty field, and NaN in the arrays."""
    files = write_scores(tmp_path, SCORES)
    with files["table"].open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "row": "1",
        "energy": "0.3333333333",
        "log_p": "-1.333333333",
        "log_p_se": "0.01",
        "p_value": "0.5",
    }
    assert rows[2] == {"row": "2", "energy": "", "log_p": "", "log_p_se": "", "p_value": ""}
    with np.load(files["arrays"]) as arrays:
        assert list(arrays) == ["row", "energy", "log_p", "log_p_se", "p_value"]
        assert np.array_equal(arrays["energy"], SCORES.energy.numpy(), equal_nan=True)


def test_files_have_only_what_is_known(tmp_path: Path) -> None:
    files = write_scores(tmp_path, RowScores(torch.ones(2).double(), None, None, None))
    assert files["table"].read_text() == "row,energy\n0,1\n1,1\n"
