"""Samples in a classifier of the data: the distance of their features, and the classes that they cover.

A small network is trained on labelled training rows (`classifier`); its last hidden layer maps each row to a few
numbers, the features φ. Between n samples and n held-out rows, by their features and by the classes that the network
assigns:

    feature distance = ‖m − m'‖² + tr(C + C' − 2 (C C')^½)     of the Gaussians with the means and covariances of φ
    class TV         = ½ Σ_k |s_k − s'_k|                      s_k, s'_k: shares of the rows that are assigned class k
    coverage         = share of the classes k with s'_k > 0 for which s_k ≥ COVERED · s'_k

The unit of φ is such that the features of the classifier's training rows have total variance 1: a feature distance of 1
is as large as the spread of the data. Between finite samples of one distribution none of these has its ideal value (the
distance has a bias of order 1/n), so each has its *null*, the mean of the same number between two samples of n data
rows. The second sample of data rows is of training rows that the classifier is not trained on: rows that it memorised
would look further apart than fresh data. The distance and class TV have p-values too, all as in `two_sample`.

The features are those that separate classes, and the classifier assigns a class to noise too: coverage is meaningful
only with a small feature distance, and both only with a high accuracy of the classifier on held-out rows.

Sources: Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter (2017), NeurIPS, eq. 6 (the distance, in features of
Inception); Bińkowski, Sutherland, Arbel & Gretton (2018), ICLR (its bias).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ebm_cli.datasets.base import Dataset, Labelled
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.evaluation.classifier import Classifier, train_classifier
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.two_sample import (
    MAX_ROWS,
    MIN_ROWS,
    Distance,
    compare_relabelled,
    draw_labellings,
    shuffle_rows,
)
from ebm_cli.evaluation.values import Value

N_TRAIN = 10_000
"""Training rows of the classifier at most; more change its accuracy on images of digits by a percent or two."""
COVERED = 0.2
"""Share of the samples, relative to that of the data, from which a class is covered: 2 % for 10 % of the data."""


def class_results(samples: Tensor, dataset: Dataset, n_held_out: int, rng: torch.Generator) -> Results:
    """Train a classifier on the classes of the data, and measure samples by it.

    Keys: `eval/feature_distance`, `eval/class_tv`, `eval/coverage`, each with its `_null`, the first two with their
    `_p`; `eval/classifier_accuracy` on held-out rows, whose `_null` is the share of the most frequent class.

    Args:
        samples: [N, *shape] in the run's units, finite, independent of each other.
        dataset: with classes.
        n_held_out: held-out rows at most. n is the smallest of N, their number, a third of the training rows, and
            MAX_ROWS.
        rng: source of every draw, on the CPU.

    Raises:
        ValueError: rows without classes, rows of one class only, or too few rows for a comparison.

    Cost: that of `train_classifier`, and 0.1 s.
    """
    unused, used, held_out = _labelled_parts(dataset, n_held_out)
    n = min(len(samples), len(held_out.x), len(unused.x), MAX_ROWS)
    if n < MIN_ROWS:
        raise ValueError(f"too few rows to compare: {n}, and {MIN_ROWS} are needed")
    classifier = train_classifier(used.x, used.labels, rng)
    of_data = classifier.features(held_out.x)
    accuracy = float((classifier.classes(of_data) == held_out.labels).double().mean())
    chance = float(held_out.labels.bincount().max()) / len(held_out.labels)

    of_samples = classifier.features(shuffle_rows(samples.detach().flatten(1).to("cpu", torch.float32), rng)[:n])
    of_data = shuffle_rows(of_data, rng)[:n]
    found = compare_features(classifier, of_samples, of_data, classifier.features(unused.x[:n]), rng)
    values: dict[str, Value] = {"eval/classifier_accuracy": accuracy, "eval/classifier_accuracy_null": chance}
    for name, distance in found.items():
        values |= {f"eval/{name}": distance.value, f"eval/{name}_null": distance.null}
        # No p-value for coverage: it is best where it is high, and a p-value is of values this high or higher.
        values |= {} if name == "coverage" else {f"eval/{name}_p": distance.p}
    missed = _missed_classes(classifier.classes(of_samples), classifier.classes(of_data), dataset.class_names)
    return Results(values, notes=missed)


def compare_features(
    classifier: Classifier, of_samples: Tensor, of_data: Tensor, of_others: Tensor, rng: torch.Generator
) -> dict[str, Distance]:
    """Compare features of samples and of data: keys `feature_distance`, `class_tv` and `coverage`.

    Args:
        classifier: what gave the features.
        of_samples: of n independent samples [n, features].
        of_data: of n held-out rows.
        of_others: of n further data rows, for the null.
        rng: source of the relabellings.
    """
    labels = draw_labellings(len(of_samples), rng)
    together, data = torch.cat((of_samples, of_data)), torch.cat((of_data, of_others))
    n_classes = classifier.weights[-1].shape[1]

    def one_hot(z: Tensor) -> Tensor:
        return functional.one_hot(classifier.classes(z), n_classes).double()

    return {
        "feature_distance": compare_relabelled(lambda z: frechet(z, labels), together, data),
        "class_tv": compare_relabelled(lambda z: class_tv(one_hot(z), labels), together, data),
        "coverage": compare_relabelled(lambda z: coverage(one_hot(z), labels), together, data),
    }


def frechet(z: Tensor, labels: Tensor) -> Tensor:
    """‖m − m'‖² + tr(C + C' − 2 (C C')^½) between the two samples in z, for each labelling.

    C and C' are the unbiased covariances. (C C')^½ has the trace of (√C C' √C)^½, which is symmetric.

    Source: Heusel et al. (2017), eq. 6; Dowson & Landau (1982), J. Multivar. Anal. 12(3).

    Args:
        z: both samples together [2n, d].
        labels: ±1 [2n, B], as many of each in every column: which sample a row belongs to.

    Shapes: → [B].  Cost: 2n d² B products, and 2B eigenvalue problems of size d.
    """
    n, d = len(z) // 2, z.shape[1]
    z = z - z.mean(0)  # a mean that both sides share would only add rounding errors to the moments
    products = (z[:, :, None] * z[:, None, :]).flatten(1)
    sides = []
    for inside in ((1 + labels) / 2, (1 - labels) / 2):
        mean = inside.T @ z / n
        second = (inside.T @ products).view(-1, d, d) / n
        sides.append((mean, (second - mean[:, :, None] * mean[:, None, :]) * (n / (n - 1))))
    (m, c), (m_other, c_other) = sides
    values, vectors = torch.linalg.eigh(c)
    root = vectors * values.clamp(min=0).sqrt()[:, None, :] @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ c_other @ root).clamp(min=0).sqrt().sum(1)
    trace = (c + c_other).diagonal(dim1=1, dim2=2).sum(1)
    squared: Tensor = (m - m_other).square().sum(1) + trace - 2 * cross
    return squared.clamp(min=0)


def class_tv(one_hot: Tensor, labels: Tensor) -> Tensor:
    """½ Σ_k |s_k − s'_k| for each labelling: one_hot [2n, K] is 1 at each row's class; labels ±1 [2n, B] → [B]."""
    return 0.5 * (one_hot.T @ labels).abs().sum(0) / (len(one_hot) // 2)


def coverage(one_hot: Tensor, labels: Tensor) -> Tensor:
    """Share of the second sample's classes that the first sample covers, for each labelling.

    Shapes: one_hot [2n, K] is 1 at each row's class; labels ±1 [2n, B] → [B].
    """
    of_samples, of_data = one_hot.T @ (1 + labels) / 2, one_hot.T @ (1 - labels) / 2
    is_in_data = of_data > 0
    is_covered = (of_samples >= COVERED * of_data) & is_in_data
    share: Tensor = is_covered.double().sum(0) / is_in_data.sum(0)
    return share


def _labelled_parts(dataset: Dataset, n_held_out: int) -> tuple[Labelled, Labelled, Labelled]:
    """Training rows that the classifier does not see, those that train it, and held-out rows.

    All are flat, in float32, in the run's units, on the CPU.
    """
    held_out = dataset.labelled("test", n_held_out)
    train_rows = None if held_out is None else dataset.labelled("train", N_TRAIN + len(held_out.x))
    if held_out is None or train_rows is None:
        raise ValueError("the data set has no classes")
    n_unused = min(len(held_out.x), len(train_rows.x) // 3)
    parts = (
        _flat(dataset.standardizer, train_rows, slice(None, n_unused)),
        _flat(dataset.standardizer, train_rows, slice(n_unused, None)),
        _flat(dataset.standardizer, held_out, slice(None)),
    )
    if len(parts[1].labels.unique()) < 2:
        raise ValueError("the training rows are of one class")
    return parts


def _flat(standardizer: Standardizer, rows: Labelled, part: slice) -> Labelled:
    u = standardizer.standardise(rows.x[part]).flatten(1).to("cpu", torch.float32)
    return Labelled(u, rows.labels[part].cpu())


def _missed_classes(of_samples: Tensor, of_data: Tensor, names: Sequence[str] | None) -> tuple[str, ...]:
    """A sentence that names the classes that are not covered; none where all are."""
    n_classes = int(torch.cat((of_samples, of_data)).max()) + 1
    has, should = (c.bincount(minlength=n_classes).double() / len(c) for c in (of_samples, of_data))
    missed = ((has < COVERED * should) & (should > 0)).nonzero().flatten().tolist()
    shares = ", ".join(
        f"class {names[k] if names else k} has {has[k]:.1%} of the samples and {should[k]:.1%} of the data"
        for k in missed
    )
    return (shares,) if missed else ()
