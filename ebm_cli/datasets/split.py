"""Split of finitely many rows into training, validation and test rows."""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.base import require_common_ranges
from ebm_cli.rng import generator


class Split(NamedTuple):
    """Indices of the rows of each part, [n_train], [n_validation], [n_test]; no row is in two parts."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split(
    n_rows: int,
    validation_fraction: float,
    test_fraction: float | None,
    n_train: int | None = None,
    seed: int = 0,
    n_test: int = 0,
    groups: Tensor | None = None,
) -> Split:
    """Shuffle rows 0 … n_rows − 1 once and assign them to the parts, at least one to each.

    Args:
        n_rows: rows to be split.
        validation_fraction: share of them that validates, in (0, 1).
        test_fraction: share of them that is held out, in (0, 1); None if the test rows are published.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        seed: of the order, ≥ 0.
        n_test: published test rows, which follow the n_rows. They are shuffled too, because a published order may not
            be random.
        groups: a number for each row [n_rows], from 0; rows with one number stay in one part. A part is then larger
            than its share by less than its last group. None splits every row on its own.

    Raises:
        ValueError: a number out of its range, or fewer than two rows to train on.
    """
    require_common_ranges(n_train, 0.0, seed)
    shares = {"validation_fraction": validation_fraction}
    if test_fraction is not None:
        shares["test_fraction"] = test_fraction
    for name, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"{name} must be in (0, 1), got {share}")
    if n_train == 1:
        raise ValueError("n_train must be >= 2 or null, got 1")
    counts = {name: max(1, round(share * n_rows)) for name, share in shares.items()}
    n_left = n_rows - sum(counts.values())
    if n_left < 2:
        taken = " and ".join(f"{name}={share}" for name, share in shares.items())
        raise ValueError(f"{taken} leave {max(0, n_left)} of {n_rows} rows to train on: at least 2 are needed")
    if n_train is not None and n_train > n_left:
        raise ValueError(f"n_train must be <= {n_left} (the rows left by validation and test), got {n_train}")
    rng = generator(seed, "split", torch.device("cpu"), prefix="")
    order, sizes = torch.randperm(n_rows, generator=rng), [*counts.values(), n_left]
    if groups is not None:
        order, sizes = _keep_together(order, groups, sizes)
        if sizes[-1] < (n_train or 2):
            raise ValueError(
                f"copies=together leaves {sizes[-1]} of {n_rows} rows to train on, "
                f"{n_train or 2} are needed: choose copies=apart, or smaller shares"
            )
    validation, test, train = order.split([sizes[0], sizes[1] if len(sizes) > 2 else 0, sizes[-1]])
    published = n_rows + torch.randperm(n_test, generator=rng)
    return Split(train[:n_train], validation, published if test_fraction is None else test)


def _keep_together(order: Tensor, groups: Tensor, sizes: list[int]) -> tuple[Tensor, list[int]]:
    """Order the rows so that equal numbers follow each other, and the parts' sizes so that they end between groups.

    Args:
        order: of all rows [N].
        groups: a number for each row [N], from 0.
        sizes: requested sizes of the parts; training takes what is left.

    Returns:
        The order, with the groups in the order of their first row, and the sizes.
    """
    number = groups[order]
    first = torch.full((int(groups.max()) + 1,), len(order)).scatter_reduce(0, number, torch.arange(len(order)), "amin")
    by_group = torch.argsort(first[number], stable=True)
    ends = torch.bincount(groups)[number[first.sort().values]].cumsum(0)
    taken = 0
    kept: list[int] = []
    for part, size in enumerate(sizes[:-1]):
        # Each part after this one keeps at least one group.
        last = len(ends) - (len(sizes) - part)
        found = min(int(torch.searchsorted(ends, taken + size)), last)
        kept.append(int(ends[found]) - taken)
        taken = int(ends[found])
    return order[by_group], [*kept, len(order) - taken]
