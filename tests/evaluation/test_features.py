"""Samples in a classifier of the data: its distances and shares, and facts on digits with controls that fail."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Digits, Table
from ebm_cli.densities import Gaussian
from ebm_cli.evaluation import features
from ebm_cli.evaluation.features import COVERED, class_results, class_tv, coverage, frechet
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.two_sample import compare_relabelled, draw_labellings
from tests.evaluation.toys import given_labelling, rows_of
from tests.support import normal, seeded


def one_hot(*classes: int, n_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), n_classes).double()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits()


# --- the formulas -----------------------------------------------------------------------------------------------------


def test_distance_is_that_of_the_two_gaussians() -> None:
    n, d = 40, 5
    x, y = normal(n, d, seed=0), normal(n, d, seed=1) @ normal(d, d, seed=2) + 3
    (c, c_other), (m, m_other) = [np.cov(z.numpy().T) for z in (x, y)], [z.mean(0).numpy() for z in (x, y)]
    cross = scipy.linalg.sqrtm(c @ c_other).real
    expected = np.square(m - m_other).sum() + np.trace(c + c_other - 2 * cross)
    assert float(frechet(torch.cat((x, y)), given_labelling(n))) == pytest.approx(expected, rel=1e-9)
    # Many labellings at once are one after another.
    labels = draw_labellings(n, seeded())
    at_once = frechet(torch.cat((x, y)), labels)
    assert at_once[7:9].tolist() == pytest.approx(
        [float(frechet(torch.cat((x, y)), labels[:, [i]])) for i in (7, 8)], rel=1e-9
    )


def test_null_has_the_bias_of_the_distance() -> None:
    """Between samples of one distribution the distance is far from 0, and its null is its mean."""
    values, nulls = [], []
    for i in range(60):
        x, y, other = normal(3, 30, 4, seed=i)
        labels = draw_labellings(30, seeded(i))
        found = compare_relabelled(
            lambda z, labels=labels: frechet(z, labels), torch.cat((x, y)), torch.cat((y, other))
        )
        values.append(found.value)
        nulls.append(found.null)
    difference = torch.tensor(values) - torch.tensor(nulls)
    error = float(difference.std()) / math.sqrt(len(difference))
    assert abs(float(difference.mean())) < 5 * error
    assert sum(values) / len(values) > 5 * error


def test_class_tv_is_that_of_the_shares() -> None:
    z = torch.cat((one_hot(0, 0, 0, 1, n_classes=3), one_hot(0, 1, 2, 2, n_classes=3)))
    assert float(class_tv(z, given_labelling(4))) == pytest.approx(0.5)  # ½ (2/4 + 0 + 2/4)
    assert float(class_tv(z.flip(0), given_labelling(4))) == pytest.approx(0.5)
    assert float(class_tv(torch.cat((z[:4], z[:4])), given_labelling(4))) == 0


def test_a_missed_class_is_named_with_both_shares() -> None:
    data = torch.tensor([0] * 10 + [1] * 4 + [2] * 6)
    assert features._missed_classes(torch.tensor([0] * 30 + [1] * 8 + [2] * 2), data, None) == (
        "class 2 has 5.0% of the samples and 30.0% of the data",
    )
    assert features._missed_classes(torch.tensor([0] * 30), data, ("a", "b", "c")) == (
        "class b has 0.0% of the samples and 20.0% of the data, class c has 0.0% of the samples and 30.0% of the data",
    )
    assert features._missed_classes(data[::2], data, None) == ()
    # One of ten is exactly a fifth of a half.
    halves = torch.tensor([0, 1] * 5)
    assert COVERED == 0.2
    assert features._missed_classes(torch.tensor([0] * 9 + [1]), halves, None) == ()
    assert features._missed_classes(torch.tensor([0] * 10 + [1]), halves, None) != ()


def test_a_class_is_covered_from_a_fifth_of_its_share() -> None:
    n = 30
    data = one_hot(*([0] * 10 + [1] * 20), n_classes=4)

    def of(of_first: int, elsewhere: int = 0) -> float:
        samples = one_hot(*([0] * of_first + [3] * elsewhere + [1] * (n - of_first - elsewhere)), n_classes=4)
        return float(coverage(torch.cat((samples, data)), given_labelling(n)))

    assert COVERED * 10 == 2
    assert [of(10), of(2), of(1), of(0)] == [1.0, 1.0, 0.5, 0.5]
    # A class without data rows does not count.
    assert of(10, elsewhere=5) == 1.0
    assert of(0, elsewhere=28) == 0.0


# --- on digits --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(digits: Dataset) -> dict[str, Results]:
    """Results of samples that are known to be good or bad."""
    # Validation rows are fresh data; training rows stand for the samples of a model.
    train = rows_of(digits, "train", without=1)
    samples = {
        "data": rows_of(digits, "validation"),
        "without class 1": train[-400:],
        "gaussian": Gaussian(digits.reference).sample(400, seeded()),
        "noise": 2 * torch.rand(400, 1, 8, 8, generator=seeded()) - 1,
    }
    return {name: class_results(x, digits, 10_000, seeded(1)) for name, x in samples.items()}


def test_fresh_data_are_as_near_as_data(measured: dict[str, Results]) -> None:
    results = measured["data"].values
    assert results["eval/classifier_accuracy"] > 0.95
    assert 0.1 < results["eval/classifier_accuracy_null"] < 0.13
    assert results["eval/feature_distance"] < 2 * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] > 0.05
    assert results["eval/class_tv_p"] > 0.05
    assert results["eval/coverage"] == 1.0
    assert results["eval/coverage_null"] == 1.0
    assert measured["data"].notes == ()


def test_a_missing_class_is_detected_and_named(measured: dict[str, Results]) -> None:
    results, notes = measured["without class 1"].values, measured["without class 1"].notes
    assert results["eval/coverage"] == pytest.approx(0.9)
    assert results["eval/feature_distance"] > 2 * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] < 0.02
    [note] = notes
    assert note.startswith("class 1 has 0.0% of the samples and ")


@pytest.mark.parametrize(("name", "nulls"), [("gaussian", 3), ("noise", 15)])
def test_noise_is_far_from_digits(measured: dict[str, Results], name: str, nulls: int) -> None:
    """A Gaussian with the data's mean and covariance has every class, but not the features."""
    results = measured[name].values
    assert results["eval/feature_distance"] > nulls * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] == 1 / 200
    assert results["eval/feature_distance"] > measured["data"].values["eval/feature_distance"]
    assert (results["eval/class_tv_p"] > 0.01) == (name == "gaussian")


def test_features_depend_on_their_seed_alone(digits: Dataset, measured: dict[str, Results]) -> None:
    state = torch.get_rng_state()
    again = class_results(rows_of(digits, "validation"), digits, 10_000, seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert again == measured["data"]


def test_tables_have_class_results() -> None:
    wine = Table("wine")
    found = class_results(rows_of(wine, "validation"), wine, 10_000, seeded())
    assert found.values["eval/classifier_accuracy"] > 0.9
    assert found.values["eval/coverage"] == 1.0
    assert found.values["eval/feature_distance_p"] > 0.01


def test_data_without_classes_are_refused() -> None:
    diabetes = Table("diabetes")
    with pytest.raises(ValueError, match=r"^the data set has no classes$"):
        class_results(diabetes.reference, diabetes, 100, seeded())


@pytest.mark.parametrize("n", [9, 5])
def test_too_few_rows_are_refused(digits: Dataset, n: int) -> None:
    with pytest.raises(ValueError, match=rf"^too few rows to compare: {n}, and 10 are needed$"):
        class_results(digits.reference[:n], digits, 100, seeded())
