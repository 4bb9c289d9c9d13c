"""Products by oneDNN equal those of torch: values, gradients and second derivatives.

On this machine oneDNN may be the slower library; here all large products are oneDNN's nevertheless.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.derivatives import Linear, matmul
from ebm_cli.derivatives.matmul import MIN_PRODUCT, MIN_TRAINED_PRODUCT, product
from ebm_cli.energies import MLP, ResidualMLP
from ebm_cli.system.torch_internals import has_onednn_linear
from tests.support import seeded

pytestmark = pytest.mark.skipif(not has_onednn_linear(), reason="a torch without oneDNN's linear layer")

SHAPES = [((256, 256), 128), ((4, 64, 256), 128), ((2, 4, 64, 128), 128)]
"""Shapes of x, and n_out: 2²³ multiplications each, as many as a trained product by oneDNN needs."""


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Large products by oneDNN; the shapes of their first factors."""
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", True)
    seen: list[tuple[int, ...]] = []
    by_onednn = matmul._by_onednn

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(tuple(x.shape))
        return by_onednn(x, weight, bias)

    monkeypatch.setattr(matmul, "_by_onednn", counted)
    return seen


def factors(shape: tuple[int, ...], n_out: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = seeded()
    made = [torch.randn(size, generator=rng) for size in (shape, (n_out, shape[-1]), (n_out,))]
    x, weight, bias = (tensor.requires_grad_() for tensor in made)
    return x, weight, bias


def assert_close(found: Any, truth: Any) -> None:
    """The same shapes, and a difference of at most 1e-5 of the norm."""
    pairs = zip(found, truth, strict=True) if isinstance(found, tuple) else [(found, truth)]
    for a, b in pairs:
        assert a.shape == b.shape
        assert (a - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("shape", "n_out"), SHAPES, ids=str)
def test_product_and_its_derivatives_equal_torchs(
    shape: tuple[int, ...], n_out: int, has_bias: bool, onednn: list[tuple[int, ...]]
) -> None:
    x, weight, bias = factors(shape, n_out)
    wanted = [x, weight, bias] if has_bias else [x, weight]
    with torch.no_grad():
        assert_close(product(x, weight, bias if has_bias else None), F.linear(x, weight, bias if has_bias else None))
    assert onednn == [shape]
    g = torch.randn(*shape[:-1], n_out, requires_grad=True)
    found = []
    for of in (product, F.linear):
        first = torch.autograd.grad((of(x, weight, bias if has_bias else None) * g).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum((d.square() * d).sum() for d in first[:2]), [x, weight, g])
        found.append((*first, *second))
    assert_close(found[0], found[1])
    # The value twice, the gradients in x and in the weight, and at least one product of the second derivatives.
    assert len(onednn) >= 5


def test_product_takes_factors_that_are_views() -> None:
    x, weight, _ = factors((128, 128), 128)
    with torch.no_grad():
        for a, b in ((x.t(), weight[:, :1].expand(128, 128)), (x[::2], weight), (x[:, 1:65], weight[:, ::2])):
            assert_close(product(a, b), F.linear(a, b))
            assert_close(product(a, b.t().contiguous().t()), F.linear(a, b))


def test_product_differentiates_only_what_is_asked_for() -> None:
    x, weight, bias = factors((512, 128), 128)
    ones = torch.full((128,), 512.0)
    assert_close(torch.autograd.grad(product(x.detach(), weight, bias).sum(), [bias]), (ones,))
    (grad,) = torch.autograd.grad(product(x, weight.detach(), bias.detach()).sum(), [x])
    assert_close(grad, weight.detach().sum(0).expand(512, 128))
    assert_close(torch.autograd.grad(product(x.detach(), weight.detach(), bias).sum(), [bias]), (ones,))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: torch.func.grad(lambda x: f(x).square().sum()),
        lambda f: torch.func.vmap(f),
        lambda f: lambda x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
        lambda f: lambda x: torch.func.hessian(lambda s: f(s * x).square().sum())(torch.ones(())),
    ],
    ids=["grad", "vmap", "jvp", "hessian"],
)
def test_function_transforms_go_through_product(transform: Callable[[Any], Any]) -> None:
    x, weight, bias = (tensor.detach() for tensor in factors((512, 128), 128))
    assert_close(transform(lambda x: product(x, weight, bias))(x), transform(lambda x: F.linear(x, weight, bias))(x))


def test_product_repeats_its_bits() -> None:
    x, weight, bias = factors((512, 128), 128)
    g = torch.randn(512, 128)
    first, again = (
        (product(x, weight, bias), *torch.autograd.grad(product(x, weight, bias), [x, weight], g)) for _ in range(2)
    )
    assert all(map(torch.equal, first, again))


def test_other_products_are_torchs(onednn: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float64, small products, and all products where oneDNN is not the faster library."""
    x, weight, bias = factors((64, 128), 128)
    assert MIN_PRODUCT <= x.numel() * len(weight) < MIN_TRAINED_PRODUCT
    assert torch.equal(
        product(x.double(), weight.double(), bias.double()), F.linear(x.double(), weight.double(), bias.double())
    )
    assert torch.equal(product(x, weight, bias), F.linear(x, weight, bias))
    assert not onednn
    with torch.no_grad():
        product(x, weight, bias)
        assert len(onednn) == 1
        assert torch.equal(product(x[:32], weight, bias), F.linear(x[:32], weight, bias))
        monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", False)
        assert torch.equal(product(x, weight, bias), F.linear(x, weight, bias))
    assert len(onednn) == 1


@pytest.mark.parametrize("kind", [MLP, ResidualMLP])
def test_energies_train_through_onednn(kind: type[MLP] | type[ResidualMLP], onednn: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    energy = kind((20,), width=128)
    assert sum(isinstance(m, Linear) for m in energy.modules()) >= 2
    x = torch.randn(512, 20)
    parameters = list(energy.parameters())
    found = energy(x), *torch.autograd.grad(energy(x).sum(), parameters)
    assert onednn
    energy.double()
    truth = energy(x.double()), *torch.autograd.grad(energy(x.double()).sum(), parameters)
    for a, b in zip(found, truth, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + 1e-12


@pytest.mark.parametrize(
    ("vendor", "capability", "is_faster"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
        ("", "AVX512", False),
    ],
)
def test_onednn_is_chosen_by_the_processor(
    vendor: str, capability: str, is_faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only where torch has both libraries and oneDNN's linear layer."""
    monkeypatch.setattr(matmul, "vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert matmul.is_onednn_faster() is is_faster
    for owner, name in (
        (matmul, "has_onednn_linear"),
        (torch.backends.mkldnn, "is_available"),
        (torch.backends.mkl, "is_available"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, lambda: False)
            assert not matmul.is_onednn_faster()


@pytest.mark.parametrize(("n_out", "n_in"), [(64, 2), (64, 1), (64, 64), (3, 2)])
def test_lay_out_transposes_only_narrow_inputs_in_memory(n_out: int, n_in: int) -> None:
    weight = torch.arange(float(n_out * n_in)).view(n_out, n_in)
    found = matmul.lay_out(weight)
    assert torch.equal(found, weight)
    is_narrow = (n_out, n_in) == (64, 2)
    assert found.stride() == ((1, n_out) if is_narrow else (n_in, 1))
    assert (found is weight) != is_narrow
