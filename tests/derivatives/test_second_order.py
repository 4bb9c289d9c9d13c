"""The exact Laplacian: its accuracy in float32, and where the first layer is narrower than the points."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.derivatives import laplacian
from ebm_cli.derivatives.second_order import exact_terms
from ebm_cli.energies import MLP, Conv, Energy, ResNet
from tests.support import autograd_only


@pytest.mark.parametrize("kind", ["mlp", "conv", "resnet"])
def test_laplacian_in_float32_is_right_to_1e_5(kind: str) -> None:
    torch.manual_seed(0)
    shape = (10,) if kind == "mlp" else (1, 6, 6)
    energy: Energy = MLP(shape, width=64) if kind == "mlp" else {"conv": Conv, "resnet": ResNet}[kind](shape, width=8)
    x = torch.randn(50, *shape)
    grad, trace = laplacian(energy, x)
    grad64, trace64 = laplacian(energy.double(), x.double())
    assert (grad - grad64).norm() / grad64.norm() < 1e-5
    assert (trace - trace64).norm() / trace64.norm() < 1e-5


def test_narrow_rank_deficient_first_layer_keeps_trace_exact() -> None:
    torch.manual_seed(0)
    energy = MLP((30,), width=8, base=0.5).double()
    first = energy.network[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight[3] = first.weight[2]
    assert energy.row_space() is not None
    x = torch.randn(5, 30).double()
    _, trace = laplacian(energy, x)
    _, full = laplacian(autograd_only(energy), x)
    torch.testing.assert_close(trace, full, rtol=1e-12, atol=1e-12)


class Direct:
    """Stand-in for the compiler of an energy, which calls what it is given."""

    def matches(self, x: Tensor) -> bool:
        return True

    def compute_once(self, key: object, compute: Callable[[], bool]) -> bool:
        return compute()

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


def test_compiled_terms_add_the_trace_outside_the_row_space() -> None:
    torch.manual_seed(0)
    energy = MLP((30,), width=8, base=0.5).double()
    x = torch.randn(5, 30).double()
    expected = exact_terms(autograd_only(energy), x)
    energy.compiled = Direct()  # type: ignore[assignment]
    for found, right in zip(exact_terms(energy, x), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
