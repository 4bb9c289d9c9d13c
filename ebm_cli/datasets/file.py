"""A user's own rows, from a file: .npy, .npz, .csv, .tsv, .parquet or .pt."""

from typing import final

from ebm_cli.datasets.copies import Copies, copies_of
from ebm_cli.datasets.finite import Dequantise, Finite, Standardize
from ebm_cli.datasets.io.row_files import read_rows
from ebm_cli.datasets.split import split


@final
class File(Finite):
    """The rows of a file, shuffled once and split into training, validation and held-out rows.

    Args:
        path: N ≥ 4 rows of D columns of finite numbers, kept in float32: a .npy, a .npz that holds one array, a .csv or
            .tsv with or without a line of names, a .parquet (needs pyarrow), or a .pt that holds one tensor. A list of
            N numbers is one column. A large .npy is not read but mapped: its rows are read when they are served.
        validation_fraction: share of the rows that training is monitored by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: zero mean and unit scale per column, fitted on the training rows; "robust": zero median and unit
            (q₇₅ − q₂₅)/1.349, which a few values of any size do not move (`columns.robust_moments`); false: the
            identity.
        dequantise: uniform noise of one unit on the columns that hold only whole numbers, of absolute value < 2²²:
            fresh whenever a training row is served, fixed on validation and test rows. NLL, KL and entropy are then
            those of the noisy numbers, and the NLL is an upper bound of the whole numbers' own (see `finite`).
            "gaussian": normal noise of half a step, on columns of whole or rounded numbers that repeat
            (`columns.half_steps`); its density does not jump, as sm and ssm need.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0; fresh whenever a row is served.
        copies: equal rows in the split. auto: in one part if they are copies, which needs at least ten different rows
            and a column that is not whole or rounded (`copies`), otherwise row by row; together: always in one part;
            apart: row by row. Without equal rows all three give the same split.
        seed: of the split and of the noise on validation and test rows, ≥ 0.

    Shapes: x [B, D].

    Raises:
        ValueError: a path that names no such file, a file that holds anything else (the message names the place), or a
            number out of its range.
    """

    def __init__(
        self,
        path: str | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: Standardize = True,
        dequantise: Dequantise = False,
        noise_std: float = 0.0,
        copies: Copies = "auto",
        seed: int = 0,
    ) -> None:
        read = read_rows(path)
        rows = read.rows
        if len(rows) < 4:
            count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
            raise ValueError(f"path {path} holds {count}: at least 4 are needed, 2 of them to train on")
        parts = split(len(rows), validation_fraction, test_fraction, n_train, seed, groups=copies_of(rows, copies))
        super().__init__(rows, parts, standardize=standardize, dequantise=dequantise, noise_std=noise_std, seed=seed)
        self.column_names, self.fingerprint = read.column_names, read.fingerprint
