"""Rows: standardised and back, streamed, shuffled, held out and resumed bit for bit."""

import io
import math

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Batches, Digits, Gaussian, GaussianRing, Moons, Standardizer, Synthetic, Table
from ebm_cli.datasets.batches import BLOCK_BATCHES
from tests.support import seeded


def rows_of(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


# --- standardizer -----------------------------------------------------------------------------------------------------


def test_a_fitted_standardizer_gives_zero_mean_and_unit_scale_and_comes_back():
    x = 3.0 + torch.tensor([0.1, 40.0]) * torch.randn(5000, 2, generator=seeded())
    standardizer = Standardizer.fit(x)
    u = standardizer(x)
    torch.testing.assert_close(u.mean(0), torch.zeros(2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(u.std(0), torch.ones(2))
    torch.testing.assert_close(standardizer.inverse(u), x)


def test_log_det_is_the_log_determinant_of_the_map():
    standardizer = Standardizer.fit(torch.tensor([0.1, 40.0, 2.0]) * torch.randn(500, 3, generator=seeded())).double()
    point = torch.randn(1, 3, dtype=torch.float64, generator=seeded(1))
    jacobian = torch.autograd.functional.jacobian(lambda u: standardizer.inverse(u[None])[0], point[0])
    torch.testing.assert_close(standardizer.log_det, torch.linalg.slogdet(jacobian).logabsdet)


def test_the_density_in_standardised_units_integrates_to_1():
    data = Synthetic(Gaussian(1, [3.0], [[25.0]]))
    u = torch.linspace(-8.0, 8.0, 1001)[:, None]
    log_p_u = data.density.log_prob(data.standardizer.inverse(u)) + data.standardizer.log_det
    assert abs(float(log_p_u.exp().sum()) * 16.0 / 1000 - 1.0) < 1e-5


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_column_keeps_its_unit(constant: float):
    x = torch.cat([torch.full((1000, 1), constant), torch.randn(1000, 1, generator=seeded())], dim=1)
    standardizer = Standardizer.fit(x)
    assert standardizer.scale[0] == 1.0
    assert abs(float(standardizer.scale[1]) - 1.0) < 0.2
    assert standardizer(x).abs().max() < 10.0


def test_a_standardizer_is_rebuilt_from_its_shape_and_state():
    fitted = Standardizer.fit(torch.randn(50, 2, 3, generator=seeded()))
    again = Standardizer((2, 3))
    again.load_state_dict(fitted.state_dict())
    x = torch.randn(4, 2, 3, generator=seeded())
    assert torch.equal(again(x), fitted(x))
    assert torch.equal(Standardizer.identity((2, 3))(x), x)


def test_a_data_sets_state_is_its_standardizers():
    assert set(Synthetic(Moons(), n_train=10).state_dict()) == {"standardizer.mean", "standardizer.scale"}


# --- batches ----------------------------------------------------------------------------------------------------------

SETS = {
    "fresh": lambda: Synthetic(Moons()),
    "fresh, noisy": lambda: Synthetic(Moons(), noise_std=0.1),
    "finite": lambda: Synthetic(Moons(), n_train=1000),
    "finite, noisy": lambda: Synthetic(Moons(), n_train=1000, noise_std=0.1),
    "one batch an epoch": lambda: Synthetic(Moons(), n_train=33, noise_std=0.1),
}
REAL = {
    "table": lambda: Table("wine"),
    "table, noisy": lambda: Table("iris", noise_std=0.1),
    "whole numbers": lambda: Digits(n_train=200),
    "whole numbers, noisy": lambda: Digits(n_train=200, noise_std=0.1, image=False),
}


def saved_and_loaded(state: dict[str, object]) -> dict[str, object]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, object] = torch.load(buffer, weights_only=True)
    return loaded


@pytest.mark.parametrize("name", [*SETS, *REAL])
@pytest.mark.parametrize("n_before", [0, 1, 30, 31, 32, BLOCK_BATCHES - 1, BLOCK_BATCHES, BLOCK_BATCHES + 1, 130])
def test_a_stream_resumes_bit_for_bit(name: str, n_before: int):
    data = (SETS | REAL)[name]()
    stream = data.batches(32, seeded(1))
    for _ in range(n_before):
        stream.next()
    state = saved_and_loaded(stream.state_dict())
    ahead = [stream.next() for _ in range(70)]
    again = data.batches(32, seeded(2))
    again.load_state_dict(state)
    assert all(torch.equal(again.next(), x) for x in ahead)


def test_saving_a_state_changes_nothing():
    data = Synthetic(Moons(), n_train=100, noise_std=0.1)
    quiet, watched = data.batches(32, seeded(1)), data.batches(32, seeded(1))
    for _ in range(10):
        watched.state_dict()
        assert torch.equal(quiet.next(), watched.next())


def epoch(stream: Batches, n_batches: int) -> Tensor:
    return torch.cat([stream.next() for _ in range(n_batches)])


def test_an_epoch_is_without_replacement_and_the_next_one_in_another_order():
    data = Synthetic(Moons(), n_train=1000)
    train = rows_of(data.reference)
    stream = data.batches(96, seeded(1))
    first, second = epoch(stream, 10), epoch(stream, 10)
    assert len(train) == 1000
    for x in (first, second):
        assert len(rows_of(x)) == 960
        assert rows_of(x) <= train
    assert not torch.equal(first, second)
    assert rows_of(first) != rows_of(second), "the dropped remainder differs between epochs"


def test_a_batch_is_never_larger_than_the_set():
    data = Synthetic(Moons(), n_train=10)
    stream = data.batches(512, seeded())
    assert stream.batch_size == 10
    assert rows_of(stream.next()) == rows_of(data.reference)


def test_fresh_rows_never_repeat_and_are_standardised():
    stream = Synthetic(Moons()).batches(256, seeded(1))
    x = epoch(stream, 200)
    assert len(rows_of(x)) == len(x)
    assert x.mean(0).abs().max() < 5.0 / math.sqrt(len(x)) + 5.0 / math.sqrt(100_000)
    assert (x.std(0) - 1.0).abs().max() < 5.0 / math.sqrt(len(x)) + 5.0 / math.sqrt(100_000)


@pytest.mark.parametrize("n_train", [None, 50_000])
def test_noise_makes_the_data_the_convolution(n_train: int | None):
    """N(0, 1) data with noise of 0.75 have variance 1.5625; the density, held-out and reference rows know it."""
    data = Synthetic(Gaussian(1), n_train=n_train, standardize=False, noise_std=0.75)
    batches = data.batches(500, seeded(1))
    for x in (epoch(batches, 100), data.reference, data.held_out(20_000)):
        variance = float(x.double().var())
        assert abs(variance - 1.5625) < 5.0 * 1.5625 * math.sqrt(2.0 / len(x))
    at_0 = float(data.density.log_prob(torch.zeros(1, 1)))
    assert at_0 == pytest.approx(-0.5 * math.log(2.0 * math.pi * 1.5625), abs=1e-6)


def test_a_finite_sets_noise_is_fresh_each_time_a_row_is_served():
    stream = Synthetic(Moons(), n_train=4, noise_std=0.1).batches(4, seeded(1))
    assert not rows_of(stream.next()) & rows_of(stream.next())


# --- held-out rows ----------------------------------------------------------------------------------------------------


FIXED = ["held_out", "validation"]


@pytest.mark.parametrize("fixed", FIXED)
@pytest.mark.parametrize("name", SETS)
def test_fixed_rows_are_the_same_every_call_and_fewer_are_the_first(name: str, fixed: str):
    data = SETS[name]()
    many = getattr(data, fixed)(9000)
    assert many.shape == (9000, 2)
    assert torch.equal(getattr(data, fixed)(100), many[:100])
    assert torch.equal(getattr(SETS[name](), fixed)(9000), many)


@pytest.mark.parametrize("n_train", [None, 2000])
@pytest.mark.parametrize("seed", [0, 1])
def test_fixed_rows_are_never_trained_on(n_train: int | None, seed: int):
    """Also where the run's seed is the data set's own; and those that watch training are not those that judge it."""
    data = Synthetic(GaussianRing(), n_train=n_train, standardize=False, seed=seed)
    trained = rows_of(epoch(data.batches(500, seeded(seed)), 40)) | rows_of(data.reference)
    held_out, validation = rows_of(data.held_out(20_000)), rows_of(data.validation(20_000))
    assert not held_out & trained
    assert not validation & trained
    assert not held_out & validation


def test_the_seed_chooses_the_finite_rows_and_the_held_out_rows():
    a, b = (Synthetic(Moons(), n_train=50, seed=seed) for seed in (0, 1))
    assert not rows_of(a.held_out(50)) & rows_of(b.held_out(50))
    assert not rows_of(a.standardizer.inverse(a.reference)) & rows_of(b.standardizer.inverse(b.reference))
    assert torch.equal(a.reference, Synthetic(Moons(), n_train=50, seed=0).reference)


def test_a_data_set_moves_to_another_dtype_whole():
    data = Synthetic(Moons(), noise_std=0.1).to(torch.float64)
    assert data.reference.dtype == data.held_out(5).dtype == data.batches(8, seeded()).next().dtype == torch.float64
    assert data.density.log_prob(data.held_out(5)).dtype == torch.float64


def test_nothing_draws_from_the_global_generator():
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
def test_a_wrong_key_is_refused_by_name(keys: dict[str, float], message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        Synthetic(Moons(), **keys)


def test_a_batch_of_no_rows_is_refused():
    for n_train in (None, 10):
        with pytest.raises(ValueError, match=r"^batch_size must be >= 1, got 0"):
            Synthetic(Moons(), n_train=n_train).batches(0, seeded())
