"""Out-of-distribution detection by the energy alone: foreign rows against held-out rows.

    AUROC = P(f(foreign) > f(held out)) + ½ P(f(foreign) = f(held out))

the probability that of one foreign row and one held-out row the foreign one has the higher energy: 1 where a threshold
separates them without a mistake, ½ where the energy carries no information. log Z cancels. Foreign rows are

    uniform     uniform noise in the box that training rows fill
    shuffled    images, whose values are of one kind: the pixels of a training row in random order, so that each row
                keeps its own values. Tables: each column shuffled on its own, the product of the marginals
    other       the held-out rows of another data set, where one is given

The shuffled rows are made of training rows: made of the held-out rows that they are compared with, the two sides would
depend on each other.

Sources: Mann & Whitney (1947), Ann. Math. Stat. 18; DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44(3), section 2
(the standard error); Du & Mordatch (2019), NeurIPS (detection by the energy).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.datasets.matching import match_data_sets
from ebm_cli.densities.uniform import Uniform
from ebm_cli.evaluation.batched import in_chunks


class Auroc(NamedTuple):
    """The probability, and its standard error, which is 0 where the two sides do not overlap.

    An error of 0 is no proof that further rows would not overlap.
    """

    value: float
    error: float


def auroc(inside: Tensor, foreign: Tensor) -> Auroc:
    """P(foreign > inside) + ½ P(foreign = inside), with DeLong's standard error.

    With v_i the share of the foreign numbers above inside_i and w_j that of the inside ones below foreign_j, ties half,
    the variance is var(v)/n + var(w)/m.

    Source: DeLong et al. (1988), section 2.

    Args:
        inside: [n], n ≥ 2.
        foreign: [m], m ≥ 2, independent of them. May be infinite.

    Raises:
        ValueError: fewer numbers, or one that is NaN.

    Cost: two sorts.
    """
    inside, foreign = inside.detach().double().cpu(), foreign.detach().double().cpu()
    if min(len(inside), len(foreign)) < 2:
        raise ValueError(f"an AUROC needs two numbers a side, got {len(inside)} and {len(foreign)}")
    if bool(inside.isnan().any() or foreign.isnan().any()):
        raise ValueError("some energies are NaN")
    v, w = 1 - _share_below(inside, foreign), _share_below(foreign, inside)
    return Auroc(float(w.mean()), math.sqrt(float(v.var() / len(v) + w.var() / len(w))))


def detection(
    energy: Callable[[Tensor], Tensor], held_out: Tensor, dataset: Dataset, other: Dataset | None, rng: torch.Generator
) -> dict[str, Auroc]:
    """AUROC of an energy against each kind of foreign rows: `uniform`, `shuffled`, and `other` where it is given.

    Args:
        energy: f, in the run's units.
        held_out: rows [N, *shape] in the run's units.
        dataset: the run's.
        other: a data set with the same columns, in any order and beside others, or of the same shape; its numbers are
            taken to be in the run's data units. None for none.
        rng: source of every draw, on the data's device.

    Raises:
        ValueError: an energy that is NaN, or fewer than two rows.

    Cost: an energy for each of 3 or 4 N rows.
    """
    foreign = {"uniform": Uniform(dataset.reference, margin=0.0).sample(len(held_out), rng)}
    if held_out[0].numel() > 1:
        foreign["shuffled"] = shuffle_values(dataset, len(held_out), rng)
    if other is not None:
        matched = match_data_sets(dataset, other)
        foreign["other"] = dataset.standardizer.standardise(matched(other.held_out(len(held_out))))
    with torch.no_grad():
        inside = in_chunks(energy, held_out)
        return {name: auroc(inside, in_chunks(energy, rows)) for name, rows in foreign.items()}


def shuffle_values(dataset: Dataset, n: int, rng: torch.Generator) -> Tensor:
    """At most n training rows [·, *shape] with their values in random order, in the run's units.

    Args:
        dataset: the data. Where its coordinates are of one kind (`has_one_kind`), values are shuffled within each row;
            else within each column, between rows.
        n: ≥ 1.
        rng: source of every draw.
    """
    rows = dataset.reference[:n]
    if not has_one_kind(dataset):
        flat = rows.flatten(1)
        return flat.gather(0, _random_orders(flat, 0, rng)).view_as(rows)
    units = dataset.standardizer
    x = units.to_data_units(rows).flatten(1)
    return units.standardise(x.gather(1, _random_orders(x, 1, rng)).view_as(rows))


def has_one_kind(dataset: Dataset) -> bool:
    """True if every coordinate of a row is the same kind of number, as the pixels of an image are.

    That is so for rows with a height and a width, and for flat rows whose coordinates share one standardisation.
    """
    mean, scale = dataset.standardizer.mean.flatten(), dataset.standardizer.scale.flatten()
    one_map = bool((mean == mean[0]).all() and (scale == scale[0]).all())
    identity = bool((mean[0] == 0) & (scale[0] == 1))
    return len(dataset.shape) > 1 or (one_map and not identity)


def _random_orders(x: Tensor, dim: int, rng: torch.Generator) -> Tensor:
    """A random order along a dimension for each line of x [N, D]."""
    return torch.rand(x.shape, generator=rng, device=x.device).argsort(dim)


def _share_below(values: Tensor, others: Tensor) -> Tensor:
    """For each value the share of the others below it, those equal to it half: [n]."""
    ordered = others.sort().values
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(others))
