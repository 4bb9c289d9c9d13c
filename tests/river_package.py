"""A package `river` of a few rows, for what reads the tables that the real one contains."""

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

COLUMNS = 9


def shuttle_rows(n: int = 400, n_anomalies: int = 200, seed: int = 0) -> npt.NDArray[np.int64]:
    """Rows [n, 10] of whole numbers; those of the anomalies, whose last number is 1, have larger ones."""
    rng = np.random.default_rng(seed)
    anomaly = rng.permutation(np.arange(n) < n_anomalies).astype(np.int64)
    x = rng.integers(0, 20, (n, COLUMNS)) + 100 * anomaly[:, None]
    return np.column_stack((x, anomaly))


def put_river(folder: Path, monkeypatch: pytest.MonkeyPatch) -> npt.NDArray[np.int64]:
    """Write the package into a folder and let Python find it there; its code must not run. Returns its rows."""
    data = folder / "river" / "datasets"
    data.mkdir(parents=True)
    (folder / "river" / "__init__.py").write_text("raise RuntimeError('the code of river must not run')\n")
    rows = shuttle_rows()
    header = ",".join([*(f"f{j}" for j in range(1, COLUMNS + 1)), "anomaly"])
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
    (data / "shuttle.csv.gz").write_bytes(gzip.compress(f"{text}\n".encode()))
    monkeypatch.syspath_prepend(str(folder))
    return rows
