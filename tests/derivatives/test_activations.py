"""Closed-form derivatives of the activations."""

import pytest
import torch
from torch import nn

from ebm_cli.derivatives.activations import derivatives_of


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Softplus(), nn.Tanh(), nn.GELU()], ids=lambda m: type(m).__name__)
def test_closed_forms_are_the_derivatives(activation: nn.Module) -> None:
    a = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    tower = derivatives_of(activation)
    assert tower is not None
    value = activation(a)
    for order in range(4):
        torch.testing.assert_close(tower(a, 3)[order], value, rtol=1e-9, atol=1e-10)
        assert len(tower(a, order)) == order + 1
        (value,) = torch.autograd.grad(value.sum(), a, create_graph=True)


def test_activation_with_other_settings_has_no_closed_form() -> None:
    assert derivatives_of(nn.Softplus(beta=2)) is None
    assert derivatives_of(nn.GELU(approximate="tanh")) is None
    assert derivatives_of(nn.ReLU()) is None
