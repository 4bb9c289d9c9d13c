"""Streams of batches: endless, shuffled, resumed bit for bit."""

import io
import math

import pytest
import torch

from ebm_cli.datasets import Dataset, Digits, Moons, Synthetic, Table
from ebm_cli.datasets.batches import BLOCK_BATCHES
from tests.datasets.support import rows_of, take
from tests.support import seeded

SETS = {
    "fresh": lambda: Synthetic(Moons()),
    "fresh, noisy": lambda: Synthetic(Moons(), noise_std=0.1),
    "finite": lambda: Synthetic(Moons(), n_train=1000),
    "finite, noisy": lambda: Synthetic(Moons(), n_train=1000, noise_std=0.1),
    "one batch an epoch": lambda: Synthetic(Moons(), n_train=33, noise_std=0.1),
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


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("n_before", [0, 1, 30, 31, 32, BLOCK_BATCHES - 1, BLOCK_BATCHES, BLOCK_BATCHES + 1, 130])
def test_stream_resumes_bit_for_bit(name: str, n_before: int):
    data: Dataset = SETS[name]()
    stream = data.batches(32, seeded(1))
    for _ in range(n_before):
        stream.next()
    state = saved_and_loaded(stream.state_dict())
    ahead = [stream.next() for _ in range(70)]
    again = data.batches(32, seeded(2))
    again.load_state_dict(state)
    assert all(torch.equal(again.next(), x) for x in ahead)


def test_state_dict_does_not_change_the_stream():
    data = Synthetic(Moons(), n_train=100, noise_std=0.1)
    undisturbed, saved = data.batches(32, seeded(1)), data.batches(32, seeded(1))
    for _ in range(10):
        saved.state_dict()
        assert torch.equal(undisturbed.next(), saved.next())


def test_epoch_is_without_replacement_and_reshuffled():
    data = Synthetic(Moons(), n_train=1000)
    train = rows_of(data.reference)
    stream = data.batches(96, seeded(1))
    first, second = take(stream, 10), take(stream, 10)
    assert len(train) == 1000
    for x in (first, second):
        assert len(rows_of(x)) == 960
        assert rows_of(x) <= train
    assert not torch.equal(first, second)
    assert rows_of(first) != rows_of(second), "the dropped remainder differs between epochs"


def test_batch_is_never_larger_than_the_set():
    data = Synthetic(Moons(), n_train=10)
    stream = data.batches(512, seeded())
    assert stream.batch_size == 10
    assert rows_of(stream.next()) == rows_of(data.reference)


def test_fresh_rows_never_repeat_and_are_standardised():
    stream = Synthetic(Moons()).batches(256, seeded(1))
    x = take(stream, 200)
    assert len(rows_of(x)) == len(x)
    assert x.mean(0).abs().max() < 5.0 / math.sqrt(len(x)) + 5.0 / math.sqrt(100_000)
    assert (x.std(0) - 1.0).abs().max() < 5.0 / math.sqrt(len(x)) + 5.0 / math.sqrt(100_000)


@pytest.mark.parametrize("n_train", [None, 10])
def test_batches_refuse_a_batch_size_of_0(n_train: int | None):
    with pytest.raises(ValueError, match=r"^batch_size must be >= 1, got 0"):
        Synthetic(Moons(), n_train=n_train).batches(0, seeded())
