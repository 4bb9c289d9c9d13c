"""Readings of a space shuttle, with anomalies: real data of the package river, which need not be downloaded."""

from typing import Literal, final

import torch

from ebm_cli.datasets.finite import Dequantise, Finite, Standardize
from ebm_cli.datasets.io.contents import Reading
from ebm_cli.datasets.io.package_files import package_file
from ebm_cli.datasets.io.row_files import read_rows
from ebm_cli.datasets.split import split

CLASSES = ("normal", "anomaly")


@final
class Shuttle(Finite):
    """Statlog (Shuttle), UCI: 45,586 normal rows and 3,511 anomalies, 9 columns of whole numbers.

    The majority class, "Rad Flow", is normal; the anomalies are the rare classes, without the second largest one (Liu,
    Ting & Zhou (2008), "Isolation forest", ICDM; ODDS library). Trained on normal rows alone, an energy is tested by
    its anomalies: `dataset@eval.ood=shuttle eval.ood.rows=anomalies`.

    Args:
        rows: normal, anomalies, or all of them, whose classes are then known.
        validation_fraction: share of the rows that training is monitored by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: zero mean and unit scale per column, or "robust", or the identity (see `Table`). The numbers of
            three columns reach a thousand times their quartiles.
        dequantise: uniform noise of one unit on every column (see `File`); none makes the likelihood unbounded.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the noise on validation and test rows, ≥ 0.

    Shapes: x [B, 9].

    Raises:
        ValueError: river is not installed, or a number out of its range.

    Cost: a second, to read.
    """

    def __init__(
        self,
        rows: Literal["normal", "anomalies", "all"] = "normal",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: Standardize = True,
        dequantise: Dequantise = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        read = read_rows(str(package_file("river", "datasets/shuttle.csv.gz", "tables")), Reading(label="anomaly"))
        x, labels = torch.as_tensor(read.rows), read.labels
        if rows != "all":
            x, labels = x[labels == ("normal", "anomalies").index(rows)], None
        super().__init__(
            x,
            split(len(x), validation_fraction, test_fraction, n_train, seed),
            labels=labels,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
        self.column_names = read.column_names
        self.class_names = None if labels is None else CLASSES

    @property
    def is_table(self) -> bool:
        return True
