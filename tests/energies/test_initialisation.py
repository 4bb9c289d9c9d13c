"""The first layer starts as features that vary on the scale of the data."""

import math

import pytest
import torch

from ebm_cli.energies import MLP, Conv, ResNet


@pytest.mark.parametrize("size", [1, 2, 100])
def test_first_layer_has_its_input_scale_in_any_dimension(size: int) -> None:
    torch.manual_seed(0)
    first = MLP((size,), width=20_000, depth=1, input_scale=3.0).network[0]
    assert isinstance(first, torch.nn.Linear)
    x = torch.randn(1, size)
    # W x ~ N(0, 9‖x‖²/D): the sample variance of 20,000 units has a standard error of 1 %.
    spread = (x @ first.weight.T).var() / (9 * x.square().mean())
    assert float(spread.detach()) == pytest.approx(1, abs=0.05)
    assert float(first.bias.detach().abs().max()) <= 3


@pytest.mark.parametrize("cls", [Conv, ResNet])
def test_first_convolution_has_its_input_scale(cls: type[Conv]) -> None:
    torch.manual_seed(0)
    first = cls((3, 8, 8), width=2_000, depth=1, input_scale=2.0).network[1]
    assert isinstance(first, torch.nn.Conv2d)
    x = torch.randn(3, 3, 3)
    # One patch, 2,000 features: N(0, 4‖x‖²/27), the sample variance within 4 standard errors.
    features = (first.weight.detach() * x).sum((1, 2, 3))
    assert float(features.var() / (4 * x.square().mean())) == pytest.approx(1, abs=4 * math.sqrt(2 / 2_000))
