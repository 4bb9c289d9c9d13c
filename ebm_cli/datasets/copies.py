"""Rows that are equal to other rows, and the split that keeps them in one part.

Rows of real data repeat for two reasons. Whole numbers and categories coincide by chance: rows of (0/1, 0/1) have four
values. And rows are copied: by oversampling, a join, a bootstrap, or one measurement that was exported twice. The
two need opposite splits. Copies belong in one part: a test row whose copy is trained on measures memory, and the
distance of samples to the training rows (`evaluation.memorisation`) is compared with a distance of 0. Coincidences
must be split row by row: kept together, a part would lack whole categories, and its distribution would be another one.

Equal rows are taken for copies where coincidence cannot explain them: there are at least `MIN_GROUPS` different rows,
none of them makes up more than a tenth of all, and in at least one column the different values lie apart in
steps of no lattice (`is_continuous`): two numbers drawn from a density never coincide.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.io.mapped import Rows, chunks
from ebm_cli.datasets.split import Split

Copies = Literal["auto", "together", "apart"]
"""Equal rows in the split: in one part if they are copies, always in one part, or each row on its own."""
LARGEST_TABLE = 2**24
"""Numbers of a table in which equal rows are looked for; of a larger one every row is split on its own."""
MIXER = 0x1E3779B97F4A7C15
"""An odd number with about as many ones as zeros, by which the bits of a number are spread."""
MIN_GROUPS = 10
"""Different rows that are needed for three parts of about the requested sizes."""
LATTICE_SHARE = 0.2
"""Share of the steps of a lattice that are taken, from which a column is taken for whole numbers or rounded ones."""


class Duplicates(NamedTuple):
    """Equal rows of a data set.

    Attributes:
        rows: of all parts.
        different: number of different ones.
        unseen: validation and test rows.
        unseen_copies: those of them that equal a training row.
        are_copies: True if coincidence cannot explain them (see the module).
    """

    rows: int
    different: int
    unseen: int
    unseen_copies: int
    are_copies: bool


def equal_rows(rows: Rows) -> Tensor:
    """Number the different rows of a table: rows [N, *shape] → [N], equal for equal rows, from 0.

    Rows are compared by 64 bits: Σ_j w_j m(x_j) modulo 2⁶⁴, with x_j the bits of a float32, m a mixing of bits and w_j
    random odd numbers. Without m, bits of −1 and 1, which differ in the highest only, would leave 33 bits of the sum.

    Cost: one pass, and a sort of N numbers; 20 ms for 100,000 rows of 20 columns.
    """
    weights = torch.randint(-(2**62), 2**62, (max(1, int(np.prod(rows.shape[1:]))),), generator=_seeded()) * 2 + 1
    keys = []
    for x in chunks(rows, torch.arange(len(rows))):
        # Adding 0 turns −0 into 0, which is equal but has other bits.
        bits = (x.detach().cpu().float().flatten(1) + 0.0).contiguous().view(torch.int32)
        keys.append((_mixed(bits.long()) * weights).sum(1))
    return torch.from_numpy(np.unique(torch.cat(keys).numpy(), return_inverse=True)[1]).flatten()


def _mixed(bits: Tensor) -> Tensor:
    """Whole numbers of 32 bits → of 64 bits, different for different ones, with low bits that depend on all of them."""
    spread = bits * MIXER
    # The mask makes it a shift without a sign.
    return spread ^ ((spread >> 29) & (2**35 - 1))


def copies_of(rows: Rows, copies: Copies) -> Tensor | None:
    """Groups of rows that must stay in one part of the split: a number for each row [N], None for no such group.

    Raises:
        ValueError: `copies` names no choice, or together leaves too few groups.
    """
    if copies not in ("auto", "together", "apart"):
        raise ValueError(f"copies must be auto, together or apart, got {copies}")
    if copies == "apart" or math.prod(rows.shape) > LARGEST_TABLE:
        return None
    groups = equal_rows(rows)
    sizes = torch.bincount(groups)
    if len(sizes) == len(rows):
        return None
    if copies == "auto":
        return groups if are_copies(rows, groups) else None
    if len(sizes) < 4:
        raise ValueError(f"copies must be apart or auto: there are only {len(sizes)} different rows")
    return groups


def count_duplicates(rows: Rows, parts: Split) -> Duplicates | None:
    """Count equal rows, and those on both sides of the split; None for more than `LARGEST_TABLE` numbers."""
    if math.prod(rows.shape) > LARGEST_TABLE:
        return None
    groups = equal_rows(rows)
    n_groups = int(groups.max()) + 1
    is_trained = torch.zeros(n_groups, dtype=torch.bool)
    is_trained[groups[parts.train]] = True
    unseen = torch.cat((parts.validation, parts.test))
    shared = int(is_trained[groups[unseen]].sum())
    return Duplicates(len(rows), n_groups, len(unseen), shared, are_copies(rows, groups))


def are_copies(rows: Rows, groups: Tensor) -> bool:
    """Decide whether equal rows are copies and not coincidences of whole or rounded numbers (see the module)."""
    sizes = torch.bincount(groups)
    if len(sizes) < MIN_GROUPS or len(sizes) == len(rows) or int(sizes.max()) > len(rows) / 10:
        return False
    first = torch.full((len(sizes),), len(rows)).scatter_reduce(0, groups, torch.arange(len(rows)), "amin")
    x = rows[first].detach().cpu().flatten(1).double().numpy()
    return any(is_continuous(column) for column in x.T[:1000])


def is_continuous(column: NDArray[np.float64]) -> bool:
    """Decide whether a column of different rows is drawn from a density, and not from a lattice.

    Half of the values must be different, and the steps of the lattice that their central nine tenths lie on must be
    taken by less than `LATTICE_SHARE`.
    """
    values = np.unique(column)
    if len(values) < max(MIN_GROUPS, len(column) / 2):
        return False
    cut = len(values) // 20
    central = values[cut : len(values) - cut]
    step = float(np.diff(central).min())
    return bool(len(central) < LATTICE_SHARE * ((central[-1] - central[0]) / step + 1))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
