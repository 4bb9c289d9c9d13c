"""Digits: images or points of the same numbers, one unit for all pixels."""

import math

import torch

from ebm_cli.datasets import Digits
from tests.support import seeded


def test_digits_are_images_or_points_of_the_same_numbers():
    image, flat = Digits(), Digits(image=False)
    assert image.shape == (1, 8, 8)
    assert flat.shape == (64,)
    assert (image.is_table, flat.is_table) == (False, True)
    assert torch.equal(image.held_out(50).flatten(1), flat.held_out(50))
    assert torch.equal(image.reference.flatten(1), flat.reference)
    assert torch.equal(image.standardizer.log_det, flat.standardizer.log_det)
    labelled = image.labelled("train", 2000)
    assert labelled is not None
    assert set(labelled.labels.tolist()) == set(range(10))


def test_digits_range_from_minus_one_to_one():
    data = Digits(dequantise=False)
    assert (data.reference.min(), data.reference.max()) == (-1.0, 1.0)
    assert data.standardizer(data.held_out(400)).abs().max() <= 1.0
    constant = data.reference.flatten(1).std(0) == 0
    assert int(constant.sum()) >= 3, "black borders stay black"


def test_dequantised_digits_have_no_constant_pixel():
    noisy = Digits()
    u = noisy.batches(512, seeded()).next()
    assert u.abs().max() <= 1.0
    assert u.flatten(1).std(0).min() > 0.9 * math.sqrt(1 / 12) / 8.5, "sd of u is √(1/12) of 8.5"
    whole = {float(v) for v in noisy.held_out(300).floor().unique()}
    assert whole == set(map(float, range(17)))


def test_noise_on_digits_is_in_their_own_units():
    still, noisy = (Digits(dequantise=False, noise_std=s, standardize=False) for s in (0.0, 2.0))
    error = noisy.held_out(300) - still.held_out(300)
    assert abs(float(error.std()) - 2.0) < 5.0 * 2.0 / math.sqrt(2 * error.numel())
