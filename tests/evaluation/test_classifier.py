"""The classifier of the data's classes: its accuracy, the unit of its features, and its source of random numbers."""

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.classifier import FEATURES, Classifier, train_classifier
from tests.support import normal, seeded


def two_classes(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two Gaussians four standard deviations apart [2n, 3], whose best classifier errs on 2.3 % of the rows."""
    x = normal(2 * n, 3, seed=seed).float()
    x[n:, 0] += 4
    return x, torch.arange(2).repeat_interleave(n)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train_classifier(*two_classes(500), seeded())


def test_accuracy_on_fresh_rows_is_near_the_best(classifier: Classifier) -> None:
    x, labels = two_classes(1000, seed=1)
    accuracy = float((classifier.classes(classifier.features(x)) == labels).double().mean())
    assert 0.96 < accuracy < 0.99


def test_features_of_the_training_rows_have_total_variance_one(classifier: Classifier) -> None:
    features = classifier.features(two_classes(500)[0])
    assert (features.shape, features.dtype) == ((1000, FEATURES), torch.float64)
    assert float(features.var(0).sum()) == pytest.approx(1, rel=1e-5)


def test_features_do_not_depend_on_the_units_of_the_rows(classifier: Classifier) -> None:
    x, labels = two_classes(500)
    scaled = train_classifier(100 * x - 7, labels, seeded())
    torch.testing.assert_close(scaled.features(100 * x - 7), classifier.features(x), rtol=1e-2, atol=1e-2)


def test_training_draws_from_the_given_generator_alone(classifier: Classifier) -> None:
    state = torch.get_rng_state()
    again, other = (train_classifier(*two_classes(500), seeded(seed)) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(again.weights, classifier.weights, strict=True))
    assert not torch.equal(other.weights[0], classifier.weights[0])
