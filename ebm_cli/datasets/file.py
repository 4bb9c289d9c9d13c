"""A user's own rows, from a file: a table in text, of Apache Arrow or of Excel, or an array of numpy or torch."""

from typing import Literal, final

from ebm_cli.datasets.columns import whole_columns
from ebm_cli.datasets.copies import Copies, copies_of
from ebm_cli.datasets.finite import Dequantise, Finite, Standardize
from ebm_cli.datasets.io.contents import Column, ColumnWords, Reading, as_tuple
from ebm_cli.datasets.io.row_files import read_rows
from ebm_cli.datasets.io.row_numbers import Numbering
from ebm_cli.datasets.split import split


@final
class File(Finite):
    """The rows of a file, shuffled once and split into training, validation and held-out rows.

    Args:
        path: of a file with N ≥ 4 rows and D columns of numbers, all of them finite; they are kept in float32. It is a
            table in text (.csv, .tsv, .txt, .dat, also compressed, as .csv.gz), a .parquet or .feather (needs
            pyarrow), an .xlsx (needs openpyxl), a .npy, an .npz, or a .pt of tensors. A list of N numbers is one
            column. Arrays [N, H, W], [N, H, W, C] and [N, C, H, W] are images of at most 4 channels; where C may be the
            second or the last axis, it is the last. A large .npy is not read but mapped: its rows are read when they
            are served.
        array: the array of an .npz, the tensor of a .pt or the sheet of an .xlsx, by name; None for the only one.
        columns: names, or positions from 0, of the columns to train on; None for all that are not left out.
        drop: columns to leave out. A row index (a first column without a name) is left out unasked; an empty list
            keeps every column.
        label: column of texts or whole numbers that is not trained on but is the class of each row, which the class
            metrics of the evaluation use; of an .npz also an array.
        delimiter: between columns of a text: comma, semicolon, tab, blank (any number of them), bar, or a character;
            None to detect it.
        decimal: mark before decimals: point or comma; None to detect it.
        thousands: mark between groups of three digits: comma, point, blank, apostrophe or none; None to detect it.
        header: whether the first line holds names; "text" if it does where none of its cells is a number; None to
            detect it. A line that may be either is refused.
        missing_class: True takes the rows without a class as a class of their own: in a text by what is written there
            (NA, None, …), an empty cell as "missing"; False refuses them.
        validation_fraction: share of the rows that training is monitored by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: zero mean and unit scale per column, fitted on the training rows; "robust": zero median and unit
            (q₇₅ − q₂₅)/1.349, which a few values of any size do not move (`columns.robust_moments`); false: the
            identity. Images are mapped to [−1, 1] by one map for all pixels.
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

    Shapes: x [B, D], or [B, C, H, W] for images.

    Raises:
        ValueError: a path that names no such file, a file that holds anything else or may be read in two ways (the
            message names the place, and the keys that choose), or a number out of its range.
    """

    def __init__(
        self,
        path: str | None = None,
        array: str | None = None,
        columns: Column | list[Column] | None = None,
        drop: Column | list[Column] | None = None,
        label: Column | None = None,
        delimiter: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        header: bool | Literal["text"] | None = None,
        missing_class: bool = False,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: Standardize = True,
        dequantise: Dequantise = False,
        noise_std: float = 0.0,
        copies: Copies = "auto",
        seed: int = 0,
    ) -> None:
        chosen = (array, as_tuple(columns), as_tuple(drop), label)
        keys = Reading(*chosen, delimiter, decimal, thousands, header, missing_class)
        read = read_rows(path, keys)
        n_rows = len(read.rows)
        if n_rows < 4:
            count = "1 row" if n_rows == 1 else f"{n_rows} rows"
            raise ValueError(f"path {path} holds {count}: at least 4 are needed, 2 of them to train on")
        if dequantise and read.pixel_range is not None and not bool(whole_columns(read.rows).all()):
            raise ValueError("dequantise must be false: some pixels are not whole numbers")
        super().__init__(
            read.rows,
            split(n_rows, validation_fraction, test_fraction, n_train, seed, groups=copies_of(read.rows, copies)),
            labels=read.labels,
            pixel_range=read.pixel_range,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
        self.column_names, self.class_names, self.description = read.column_names, read.class_names, read.description
        self.fingerprint, self._words, self._numbered = read.fingerprint, read.words, read.numbered

    @property
    def column_words(self) -> ColumnWords:
        return self._words

    @property
    def numbered(self) -> tuple[Numbering, ...]:
        """Columns that number the rows of the file, unless the user has said which columns are data."""
        return self._numbered

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 1
