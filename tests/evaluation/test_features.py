"""A classifier's word on samples, and whether they are copies: facts on digits, each with a control that fails."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Digits, Synthetic, Table
from ebm_cli.datasets.gaussian import Gaussian as GaussianTarget
from ebm_cli.densities import Gaussian
from ebm_cli.evaluation import features, memorisation
from ebm_cli.evaluation.features import COVERED, class_results, class_tv, coverage, frechet
from ebm_cli.evaluation.measured import Results
from ebm_cli.evaluation.memorisation import copying, epoch
from ebm_cli.evaluation.two_sample import against_relabelled, labellings
from tests.support import TINY, Ebm, no_pictures, seeded


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def as_given(n: int) -> Tensor:
    """The labelling [2n, 1] in which the first n rows are one sample."""
    return torch.where(torch.arange(2 * n) < n, 1.0, -1.0).double()[:, None]


def counted(*classes: int, n_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), n_classes).double()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits()


def rows(dataset: Dataset, part: str, without: int = -1) -> Tensor:
    """Rows of a part in the run's units, without one class."""
    found = dataset.labelled(part, 10_000)  # type: ignore[arg-type]
    assert found is not None
    return dataset.standardizer(found.x[found.labels != without])


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_the_two_gaussians() -> None:
    n, d = 40, 5
    x, y = normal(n, d), normal(n, d, seed=1) @ normal(d, d, seed=2) + 3
    (c, c_other), (m, m_other) = [np.cov(z.numpy().T) for z in (x, y)], [z.mean(0).numpy() for z in (x, y)]
    cross = scipy.linalg.sqrtm(c @ c_other).real
    expected = np.square(m - m_other).sum() + np.trace(c + c_other - 2 * cross)
    assert float(frechet(torch.cat((x, y)), as_given(n))) == pytest.approx(expected, rel=1e-9)
    # Many labellings at once are one after another.
    labels = labellings(n, seeded())
    at_once = frechet(torch.cat((x, y)), labels)
    assert at_once[7:9].tolist() == pytest.approx(
        [float(frechet(torch.cat((x, y)), labels[:, [i]])) for i in (7, 8)], rel=1e-9
    )


def test_its_null_has_the_bias_of_the_value() -> None:
    """Between samples of one law the distance is far from 0, and its null is its mean."""
    values, nulls = [], []
    for i in range(60):
        x, y, other = normal(3, 30, 4, seed=i)
        labels = labellings(30, seeded(i))
        found = against_relabelled(
            lambda z, labels=labels: frechet(z, labels), torch.cat((x, y)), torch.cat((y, other))
        )
        values.append(found.value)
        nulls.append(found.null)
    difference = torch.tensor(values) - torch.tensor(nulls)
    error = float(difference.std()) / math.sqrt(len(difference))
    assert abs(float(difference.mean())) < 5 * error
    assert sum(values) / len(values) > 5 * error


def test_class_shares() -> None:
    z = torch.cat((counted(0, 0, 0, 1, n_classes=3), counted(0, 1, 2, 2, n_classes=3)))
    assert float(class_tv(z, as_given(4))) == pytest.approx(0.5)  # ½ (2/4 + 0 + 2/4)
    assert float(class_tv(z.flip(0), as_given(4))) == pytest.approx(0.5)
    assert float(class_tv(torch.cat((z[:4], z[:4])), as_given(4))) == 0


def test_a_missed_class_is_named_with_both_shares() -> None:
    data = torch.tensor([0] * 10 + [1] * 4 + [2] * 6)
    assert features._missed(torch.tensor([0] * 30 + [1] * 8 + [2] * 2), data) == (
        "class 2 has 5.0% of the samples and 30.0% of the data",
    )
    assert features._missed(torch.tensor([0] * 30), data) == (
        "class 1 has 0.0% of the samples and 20.0% of the data, class 2 has 0.0% of the samples and 30.0% of the data",
    )
    assert features._missed(data[::2], data) == ()
    # One of ten is exactly a fifth of a half.
    halves = torch.tensor([0, 1] * 5)
    assert COVERED == 0.2
    assert features._missed(torch.tensor([0] * 9 + [1]), halves) == ()
    assert features._missed(torch.tensor([0] * 10 + [1]), halves) != ()


def test_a_class_is_covered_from_a_fifth_of_its_share_on() -> None:
    n = 30
    data = counted(*([0] * 10 + [1] * 20), n_classes=4)

    def of(of_first: int, elsewhere: int = 0) -> float:
        samples = counted(*([0] * of_first + [3] * elsewhere + [1] * (n - of_first - elsewhere)), n_classes=4)
        return float(coverage(torch.cat((samples, data)), as_given(n)))

    assert COVERED * 10 == 2
    assert [of(10), of(2), of(1), of(0)] == [1.0, 1.0, 0.5, 0.5]
    # What is in no data row is no class to be covered.
    assert of(10, elsewhere=5) == 1.0
    assert of(0, elsewhere=28) == 0.0


# --- on digits --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(digits: Dataset) -> dict[str, Results]:
    """What is said of samples that are known to be good or bad."""
    # The validation rows have had no part in anything; others of the training rows stand for a model without noise.
    train = rows(digits, "train", without=1)
    samples = {
        "data": rows(digits, "validation"),
        "without class 1": train[-400:],
        "gaussian": Gaussian(digits.reference).sample(400, seeded()),
        "noise": 2 * torch.rand(400, 1, 8, 8, generator=seeded()) - 1,
    }
    return {name: class_results(x, digits, 10_000, seeded(1)) for name, x in samples.items()}


def test_data_pass_for_data(judged: dict[str, Results]) -> None:
    results = judged["data"].values
    assert results["eval/classifier_accuracy"] > 0.95
    assert 0.1 < results["eval/classifier_accuracy_null"] < 0.13
    assert results["eval/feature_distance"] < 2 * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] > 0.05
    assert results["eval/class_tv_p"] > 0.05
    assert results["eval/coverage"] == 1.0
    assert results["eval/coverage_null"] == 1.0
    assert judged["data"].notes == ()


def test_a_missing_class_is_seen_and_named(judged: dict[str, Results]) -> None:
    results, notes = judged["without class 1"].values, judged["without class 1"].notes
    assert results["eval/coverage"] == pytest.approx(0.9)
    assert results["eval/feature_distance"] > 2 * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] < 0.02
    [note] = notes
    assert note.startswith("class 1 has 0.0% of the samples and ")


@pytest.mark.parametrize(("name", "nulls"), [("gaussian", 3), ("noise", 15)])
def test_what_is_no_digit_is_far(judged: dict[str, Results], name: str, nulls: int) -> None:
    """A Gaussian with the data's mean and covariance has every class, but not the features."""
    results = judged[name].values
    assert results["eval/feature_distance"] > nulls * results["eval/feature_distance_null"]
    assert results["eval/feature_distance_p"] == 1 / 200
    assert results["eval/feature_distance"] > judged["data"].values["eval/feature_distance"]
    assert (results["eval/class_tv_p"] > 0.01) == (name == "gaussian")


def test_the_same_seed_says_the_same_and_nothing_is_drawn_elsewhere(
    digits: Dataset, judged: dict[str, Results]
) -> None:
    state = torch.get_rng_state()
    again = class_results(rows(digits, "validation"), digits, 10_000, seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert again == judged["data"]


def test_tables_have_classes_too() -> None:
    wine = Table("wine")
    found = class_results(rows(wine, "validation"), wine, 10_000, seeded())
    assert found.values["eval/classifier_accuracy"] > 0.9
    assert found.values["eval/coverage"] == 1.0
    assert found.values["eval/feature_distance_p"] > 0.01


def test_what_has_no_classes_is_refused() -> None:
    diabetes = Table("diabetes")
    with pytest.raises(ValueError, match=r"^the data set has no classes$"):
        class_results(diabetes.reference, diabetes, 100, seeded())


@pytest.mark.parametrize("n", [9, 5])
def test_too_few_rows_are_refused(digits: Dataset, n: int) -> None:
    with pytest.raises(ValueError, match=rf"^{n} rows to compare are too few: 10 are needed$"):
        class_results(digits.reference[:n], digits, 100, seeded())


# --- copies -----------------------------------------------------------------------------------------------------------


def test_fresh_data_are_as_far_from_the_training_rows_as_other_fresh_data(digits: Dataset) -> None:
    fresh, held_out = rows(digits, "validation"), rows(digits, "test")
    found = copying(fresh, held_out, digits, seeded())
    assert abs(found.value - 1) < 5 * found.error
    assert found.error < 0.1


@pytest.mark.parametrize(("dequantise", "ratio"), [(False, 0.0), (True, 0.19)])
def test_training_rows_are_copies(dequantise: bool, ratio: float) -> None:
    """With noise on whole numbers too: a copy has other noise than the row that it copies."""
    data = Digits(dequantise=dequantise)
    found = copying(data.reference, rows(data, "test"), data, seeded())
    assert found.value == pytest.approx(ratio, abs=0.02)


def test_it_is_the_ratio_of_the_median_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "CHUNK_ROWS", 100)
    data = Digits(dequantise=False, n_train=500)
    fresh, held_out = (rows(data, part)[:100].flatten(1).double() for part in ("validation", "test"))
    near = [torch.cdist(x, data.reference.flatten(1).double()).amin(1).median() for x in (fresh, held_out)]
    found = copying(rows(data, "validation")[:100], rows(data, "test"), data, seeded())
    assert found.value == pytest.approx(float(near[0] / near[1]), rel=1e-5)


def test_a_mixture_of_copies_and_data_and_noise(digits: Dataset) -> None:
    held_out = rows(digits, "test")
    noise = 2 * torch.rand(300, 1, 8, 8, generator=seeded()) - 1
    assert copying(noise, held_out, digits, seeded()).value > 2
    mostly = torch.cat((digits.reference[:120], rows(digits, "validation")[:60]))
    assert copying(mostly, held_out, digits, seeded()).value < 0.7


def test_the_error_is_that_of_the_ratio() -> None:
    """The spread of the ratio over data sets; in a normal law of three dimensions, with few rows."""
    found = []
    for i in range(60):
        data = Synthetic(GaussianTarget(3), n_train=100, standardize=False, seed=i)
        fresh, held_out = data.validation(80), data.held_out(80)
        found.append(copying(fresh, held_out, data, seeded(i)))
    spread = float(torch.tensor([ratio.value for ratio in found]).std())
    stated = float(torch.tensor([ratio.error for ratio in found]).mean())
    assert stated == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("chunk", [64 * 1258, 64 * 500, 64 * 2])
def test_an_epoch_has_every_training_row_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "CHUNK_NUMBERS", chunk)
    data = Digits(dequantise=False, image=False)
    chunks = list(epoch(data, seeded()))
    assert all(part.numel() <= chunk for part in chunks)
    assert (len(chunks) == 1) == (len(data.reference) * 64 <= chunk)
    served, all_rows = torch.cat(chunks), data.reference
    left_over = len(all_rows) - len(served)
    assert 0 <= left_over < len(chunks)
    distance = torch.cdist(all_rows, served, compute_mode="donot_use_mm_for_euclid_dist")
    assert int((distance.amin(1) > 0).sum()) <= left_over


def test_rows_that_are_never_repeated_cannot_be_copied() -> None:
    data = Synthetic(GaussianTarget(3))
    with pytest.raises(ValueError, match=r"^training rows are never repeated"):
        copying(data.held_out(20), data.held_out(20), data, seeded())


def test_held_out_rows_that_were_trained_on_have_no_ratio() -> None:
    data = Digits(dequantise=False, n_train=100)
    with pytest.raises(ValueError, match=r"^half of the held-out rows are training rows$"):
        copying(rows(data, "test"), data.reference, data, seeded())


# --- in a run ---------------------------------------------------------------------------------------------------------

KEYS = {f"eval/{name}{part}" for name in ("feature_distance", "class_tv") for part in ("", "_null", "_p")}
KEYS |= {f"eval/{name}{part}" for name in ("coverage", "classifier_accuracy") for part in ("", "_null")}
KEYS |= {"eval/nn_ratio", "eval/nn_ratio_se"}
WORDS = (*TINY, "method=dsm", "steps=2", "eval.n_chains=20", "metrics=[features]", "hydra.run.dir=run")


def results_of(run: Path) -> set[str]:
    found = json.loads((run / "results.json").read_text())
    return {key for key in found if not key.startswith(("cost/", "val/"))}


def test_a_run_on_digits_ends_with_them(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *WORDS, "dataset=digits")
    assert (ran.code, ran.err) == (0, "")
    assert results_of(Path("run")) == KEYS
    for word in ("classifier_accuracy", "feature_distance", "far", "coverage", "nn_ratio", "off the data", "reliable"):
        assert word in ran.out, word
    again = ebm("evaluate", "checkpoint=run", *(word for word in WORDS if word.startswith(("eval.", "metrics"))))
    assert again.code == 0
    [evaluated] = Path("run").glob("evaluate/*/results.json")
    stored = json.loads(Path("run/results.json").read_text())
    assert json.loads(evaluated.read_text()) == {key: stored[key] for key in KEYS}


def test_without_classes_it_is_said_what_is_missing_and_why(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *WORDS, "dataset=diabetes")
    assert ran.code == 0
    assert results_of(Path("run")) == {"eval/nn_ratio", "eval/nn_ratio_se"}
    assert "eval/feature_distance: the data set has no classes" in ran.out


def test_synthetic_data_are_measured_by_their_density(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said where the density is measured, and why nothing is measured where it is not."""
    no_pictures(monkeypatch)
    both = ebm("train", *WORDS, "metrics=[density,features,ood]")
    assert both.code == 0
    assert "KL says more" not in both.out
    assert not results_of(Path("run")) & KEYS
    alone = ebm("train", *WORDS, "metrics=[features,ood]", "hydra.run.dir=alone")
    assert results_of(Path("alone")) == set()
    assert "KL says more" in alone.out
