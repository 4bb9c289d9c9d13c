"""Files of `ebm density`: the scores of all rows as text and as arrays."""

from pathlib import Path
from typing import Any

import numpy as np

from ebm_cli.evaluation.row_scores import RowScores

BLOCK = 100_000
"""Lines that are written at once."""


def write_scores(folder: Path, scores: RowScores) -> dict[str, Path]:
    """Write density.csv and density.npz to a folder.

    Both have `row` (position in the file, from 0), `energy`, and where they are known `log_p`, `log_p_se` and
    `p_value`. A row with a missing number has an empty field in the first, NaN in the second.

    Returns:
        Kind of the file → its path.
    """
    n = len(scores.energy)
    columns: dict[str, Any] = {"row": np.arange(n), "energy": scores.energy.numpy()}
    if scores.log_p is not None:
        columns |= {
            "log_p": scores.log_p.numpy(),
            "log_p_se": np.where(scores.log_p.isnan(), np.nan, scores.log_p_se or 0.0),
        }
    if scores.p_value is not None:
        columns["p_value"] = scores.p_value.numpy()
    table, arrays = folder / "density.csv", folder / "density.npz"
    np.savez(arrays, **columns)
    with table.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        for start in range(0, n, BLOCK):
            lists = [column[start : start + BLOCK].tolist() for column in columns.values()]
            file.writelines(",".join(map(_field, line)) + "\n" for line in zip(*lists, strict=True))
    return {"table": table, "arrays": arrays}


def _field(value: float) -> str:
    """A number as text that reads back as the same number to ten digits; empty for NaN."""
    return "" if value != value else f"{value:.10g}"
