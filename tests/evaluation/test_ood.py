"""Out-of-distribution detection: AUROC against closed forms and pairs, its standard error, and the foreign rows."""

import math
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.datasets import Dataset, Digits, Table
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities import Gaussian
from ebm_cli.evaluation.ood import Auroc, auroc, detection, has_one_kind, shuffle_values
from tests.support import normal, seeded


def shifted(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + normal(n, seed=seed)


# --- the area ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0, -1.0])
def test_auroc_of_two_gaussians_is_its_closed_form(shift: float) -> None:
    """P(N(d, 1) > N(0, 1)) = Φ(d/√2)."""
    found = auroc(shifted(2000, 0), shifted(1500, 1, shift))
    exact = float(stats.norm.cdf(shift / math.sqrt(2)))
    assert abs(found.value - exact) < 5 * found.error
    assert found.error < 0.011
    wrong = float(stats.norm.cdf(shift))  # that of one side without a spread
    assert shift == 0 or abs(found.value - wrong) > 5 * found.error


def test_auroc_is_the_share_of_pairs_with_ties_by_halves() -> None:
    inside, foreign = torch.tensor([0.0, 1, 1, 2]), torch.tensor([1.0, 1, 3])
    pairs = (foreign[:, None] > inside).double() + 0.5 * (foreign[:, None] == inside).double()
    found = auroc(inside, foreign)
    assert found.value == pytest.approx(float(pairs.mean()), abs=1e-15)
    parts = pairs.mean(0).var() / 4 + pairs.mean(1).var() / 3
    assert found.error == pytest.approx(float(parts.sqrt()), abs=1e-15)


def test_auroc_of_sides_that_do_not_overlap() -> None:
    low, high = shifted(50, 0), shifted(60, 1, 100.0)
    assert auroc(low, high) == (1.0, 0.0)
    assert auroc(high, low) == (0.0, 0.0)
    assert auroc(torch.zeros(50), torch.zeros(60)) == (0.5, 0.0)
    assert auroc(low, torch.full((60,), torch.inf)).value == 1.0


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_standard_error_is_the_spread_over_repetitions(shift: float) -> None:
    found = [auroc(shifted(80, 2 * i), shifted(40, 2 * i + 1, shift)) for i in range(400)]
    values, errors = (torch.tensor(part, dtype=torch.float64) for part in zip(*found, strict=True))
    # The spread of 400 is known to 3.5 %.
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.15)
    exact = float(stats.norm.cdf(shift / math.sqrt(2)))
    assert abs(float(values.mean()) - exact) < 5 * float(values.std()) / math.sqrt(len(values))


def test_standard_error_is_that_of_a_bootstrap() -> None:
    inside, foreign = shifted(100, 0), shifted(150, 1, 1.0)
    found, draws = auroc(inside, foreign), seeded(2)
    again = [
        auroc(inside[torch.randint(100, (100,), generator=draws)], foreign[torch.randint(150, (150,), generator=draws)])
        for _ in range(400)
    ]
    assert found.error == pytest.approx(float(torch.tensor([other.value for other in again]).std()), rel=0.15)


def test_numbers_without_an_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^some energies are NaN$"):
        auroc(torch.tensor([0.0, torch.nan]), torch.zeros(3))
    with pytest.raises(ValueError, match=r"^an AUROC needs two numbers a side, got 1 and 3$"):
        auroc(torch.zeros(1), torch.zeros(3))


# --- foreign rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "is_one_kind"),
    [
        (Digits(), True),
        (Digits(standardize=False), True),
        (Digits(image=False), True),
        (Table("wine"), False),
        (Table("wine", standardize=False), False),
    ],
)
def test_pixels_have_one_kind_and_columns_do_not(data: Dataset, is_one_kind: bool) -> None:
    assert has_one_kind(data) is is_one_kind


@pytest.mark.parametrize(
    ("mean", "scale", "is_one_kind"),
    [
        ([3, 3, 3], [2, 2, 2], True),
        ([0, 0, 0], [2, 2, 2], True),
        ([3, 3, 3], [1, 1, 1], True),
        ([0, 0, 0], [1, 1, 1], False),
        ([3, 2, 1], [2, 2, 2], False),
        ([1, 2, 3], [2, 2, 2], False),
        ([3, 3, 3], [1, 2, 3], False),
        ([3, 3, 3], [3, 2, 1], False),
    ],
)
def test_columns_have_one_kind_with_one_standardisation(
    mean: list[float], scale: list[float], is_one_kind: bool
) -> None:
    data = Table("wine")
    data.shape, data.standardizer = (3,), Standardizer((3,))
    data.standardizer.mean[:], data.standardizer.scale[:] = torch.tensor(mean), torch.tensor(scale)
    assert has_one_kind(data) is is_one_kind


@pytest.mark.parametrize("image", [True, False])
def test_shuffled_pixels_stay_in_their_row(image: bool) -> None:
    data = Digits(image=image)
    mixed, rows = shuffle_values(data, 100, seeded()).flatten(1), data.reference[:100].flatten(1)
    assert torch.allclose(mixed.sort(1).values, rows.sort(1).values, atol=1e-5)
    assert not torch.allclose(mixed, rows, atol=0.1)
    assert not torch.allclose(mixed.sort(0).values, rows.sort(0).values, atol=0.1)


def test_shuffled_columns_lose_their_correlation() -> None:
    data = Table("breast_cancer")
    mixed, rows = shuffle_values(data, 400, seeded()), data.reference[:400]
    assert torch.equal(mixed.sort(0).values, rows.sort(0).values)
    radius, perimeter = 0, 2
    assert float(torch.corrcoef(rows[:, [radius, perimeter]].T)[0, 1]) > 0.99
    assert abs(float(torch.corrcoef(mixed[:, [radius, perimeter]].T)[0, 1])) < 0.2


def test_an_energy_detects_foreign_rows_and_a_constant_does_not() -> None:
    data = Digits()
    held_out = data.standardizer(data.held_out(10_000))
    fitted = Gaussian(data.reference)
    found = detection(lambda u: -fitted.log_prob(u), held_out, data, None, seeded())
    assert set(found) == {"uniform", "shuffled"}
    assert all(area.value > 0.99 for area in found.values())
    nothing = detection(lambda u: torch.zeros(len(u)), held_out, data, None, seeded())
    assert all(area == (0.5, 0.0) for area in nothing.values())
    # With the sign of the energy changed, the foreign rows are the likely ones.
    upside_down = detection(fitted.log_prob, held_out, data, None, seeded())
    assert all(area.value < 0.01 for area in upside_down.values())


def test_uniform_rows_fill_the_box_of_the_data() -> None:
    data = Digits()
    seen: list[Tensor] = []

    def energy(rows: Tensor) -> Tensor:
        seen.append(rows)
        return rows.sum(1)

    detection(energy, data.standardizer(data.held_out(300)), data, None, seeded())
    _, uniform, _ = seen
    low, high = data.reference.amin(0), data.reference.amax(0)
    assert bool(((low <= uniform) & (uniform <= high)).all())
    assert bool((uniform.amax(0) - uniform.amin(0) > 0.95 * (high - low)).all())


def test_rows_of_the_same_distribution_are_not_foreign() -> None:
    """Another data set's numbers are read in the run's data units: those of another split of the digits are data."""
    data = Digits()
    held_out = data.standardizer(data.held_out(10_000))

    def of(other: Dataset) -> Auroc:
        return detection(lambda u: u.flatten(1).sum(1), held_out, data, other, seeded())["other"]

    same = of(Digits(seed=1))
    assert abs(same.value - 0.5) < 5 * same.error
    assert of(Digits(seed=1, standardize=False)) == same
    # Without the noise every pixel is half a unit lower.
    lower = of(Digits(seed=1, dequantise=False))
    assert lower.value < 0.5 - 5 * lower.error


def test_one_column_is_not_shuffled(tmp_path: Path) -> None:
    from ebm_cli.datasets import File

    (tmp_path / "x.csv").write_text("".join(f"{i * i % 101}\n" for i in range(100)))
    data = File(str(tmp_path / "x.csv"))
    held_out = data.standardizer(data.held_out(100))
    assert set(detection(lambda u: u[:, 0], held_out, data, None, seeded())) == {"uniform"}
    (tmp_path / "xy.csv").write_text("".join(f"{i * i % 101},{i + 0.5}\n" for i in range(100)))
    data = File(str(tmp_path / "xy.csv"))
    held_out = data.standardizer(data.held_out(100))
    assert set(detection(lambda u: u[:, 0], held_out, data, None, seeded())) == {"uniform", "shuffled"}
