"""Small tables that come with scikit-learn: real data that need not be downloaded."""

import inspect
from typing import Any, Literal, final

import torch

from ebm_cli.datasets.finite import Dequantise, Finite, Standardize
from ebm_cli.datasets.split import split


@final
class Table(Finite):
    """A table of scikit-learn in its own units; the quantity that it was collected to predict is not a column.

        iris           150 rows,  4 columns,  3 classes      Fisher (1936), Annals of Eugenics 7
        wine           178 rows, 13 columns,  3 classes      Forina et al. (1991), UCI
        diabetes       442 rows, 10 columns                  Efron, Hastie, Johnstone & Tibshirani (2004), Ann. Stat. 32
        breast_cancer  569 rows, 30 columns,  2 classes      Street, Wolberg & Mangasarian (1993), UCI

    Args:
        name: of the table.
        validation_fraction: share of the rows that training is monitored by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: zero mean and unit scale per column, fitted on the training rows; "robust": zero median and unit
            (q₇₅ − q₂₅)/1.349, which a few values of any size do not move (`columns.robust_moments`), and
            without the rows that lie more than 100 of these from the median; false: the identity.
        dequantise: uniform noise of one unit on the columns of whole numbers, or "gaussian" (see `File`).
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the noise on validation and test rows, ≥ 0.

    Shapes: x [B, D], D the number of columns.

    Raises:
        ValueError: a number out of its range, or no column to dequantise.
    """

    def __init__(
        self,
        name: Literal["iris", "wine", "diabetes", "breast_cancer"] = "wine",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: Standardize = True,
        dequantise: Dequantise = False,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        from sklearn import datasets

        load: Any = getattr(datasets, f"load_{name}")
        # scikit-learn centres and scales the columns of diabetes, unless it is asked for the values as measured.
        loaded = load(**({"scaled": False} if "scaled" in inspect.signature(load).parameters else {}))
        rows = torch.from_numpy(loaded.data).float()
        super().__init__(
            rows,
            split(len(rows), validation_fraction, test_fraction, n_train, seed),
            labels=torch.from_numpy(loaded.target).long() if "target_names" in loaded else None,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
        self.column_names = tuple(map(str, loaded.feature_names))

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 1
