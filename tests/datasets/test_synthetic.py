"""Synthetic data: fixed rows that are never trained on, and noise that the density knows."""

import math

import pytest
import torch

from ebm_cli.datasets import Gaussian, GaussianRing, Moons, Synthetic
from tests.datasets.support import rows_of, take
from tests.support import seeded

SETS = {
    "fresh": lambda: Synthetic(Moons()),
    "fresh, noisy": lambda: Synthetic(Moons(), noise_std=0.1),
    "finite": lambda: Synthetic(Moons(), n_train=1000),
    "finite, noisy": lambda: Synthetic(Moons(), n_train=1000, noise_std=0.1),
    "one batch an epoch": lambda: Synthetic(Moons(), n_train=33, noise_std=0.1),
}


@pytest.mark.parametrize("fixed", ["held_out", "validation"])
@pytest.mark.parametrize("name", SETS)
def test_fixed_rows_are_the_same_at_every_call(name: str, fixed: str):
    data = SETS[name]()
    many = getattr(data, fixed)(9000)
    assert many.shape == (9000, 2)
    assert torch.equal(getattr(data, fixed)(100), many[:100]), "fewer rows are the first of more"
    assert torch.equal(getattr(SETS[name](), fixed)(9000), many)


@pytest.mark.parametrize("n_train", [None, 2000])
@pytest.mark.parametrize("seed", [0, 1])
def test_fixed_rows_are_never_trained_on(n_train: int | None, seed: int):
    """Validation and test rows are disjoint too, also if the run's seed is the data set's."""
    data = Synthetic(GaussianRing(), n_train=n_train, standardize=False, seed=seed)
    trained = rows_of(take(data.batches(500, seeded(seed)), 40)) | rows_of(data.reference)
    held_out, validation = rows_of(data.held_out(20_000)), rows_of(data.validation(20_000))
    assert not held_out & trained
    assert not validation & trained
    assert not held_out & validation


@pytest.mark.parametrize("part", ["validation", "test"])
def test_standardised_rows_are_the_parts_rows_in_other_units(part: str):
    data = Synthetic(Moons(), noise_std=0.1).double()
    x = data.validation(100) if part == "validation" else data.held_out(100)
    assert torch.equal(data.unseen_rows(part, 100), x)
    assert torch.equal(data.standardised_rows(part, 100), data.standardizer(x))


def test_seed_chooses_training_and_held_out_rows():
    a, b = (Synthetic(Moons(), n_train=50, seed=seed) for seed in (0, 1))
    assert not rows_of(a.held_out(50)) & rows_of(b.held_out(50))
    assert not rows_of(a.standardizer.inverse(a.reference)) & rows_of(b.standardizer.inverse(b.reference))
    assert torch.equal(a.reference, Synthetic(Moons(), n_train=50, seed=0).reference)


@pytest.mark.parametrize("n_train", [None, 50_000])
def test_noise_makes_the_data_the_convolution(n_train: int | None):
    """N(0, 1) data with noise of 0.75 have variance 1.5625, in the density, held-out and reference rows too."""
    data = Synthetic(Gaussian(1), n_train=n_train, standardize=False, noise_std=0.75)
    batches = data.batches(500, seeded(1))
    for x in (take(batches, 100), data.reference, data.held_out(20_000)):
        variance = float(x.double().var())
        assert abs(variance - 1.5625) < 5.0 * 1.5625 * math.sqrt(2.0 / len(x))
    at_0 = float(data.density.log_prob(torch.zeros(1, 1)))
    assert at_0 == pytest.approx(-0.5 * math.log(2.0 * math.pi * 1.5625), abs=1e-6)


def test_noise_of_a_finite_set_is_fresh_in_every_epoch():
    stream = Synthetic(Moons(), n_train=4, noise_std=0.1).batches(4, seeded(1))
    assert not rows_of(stream.next()) & rows_of(stream.next())


def test_dataset_moves_to_another_dtype_completely():
    data = Synthetic(Moons(), noise_std=0.1).to(torch.float64)
    assert data.reference.dtype == data.held_out(5).dtype == data.batches(8, seeded()).next().dtype == torch.float64
    assert data.density.log_prob(data.held_out(5)).dtype == torch.float64


def test_dataset_never_draws_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data = Synthetic(Moons(), n_train=50, noise_std=0.1)
    data.held_out(10)
    data.batches(8, seeded()).next()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_train": 0}, "n_train must be >= 1 or null, got 0"),
        ({"noise_std": -0.1}, "noise_std must be >= 0, got -0.1"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_synthetic_refuses_a_number_out_of_range(keys: dict[str, float], message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        Synthetic(Moons(), **keys)
