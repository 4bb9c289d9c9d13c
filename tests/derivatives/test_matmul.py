"""Products by the library with the wider instructions are the products of torch.

Which library that is depends on the processor; here it is always oneDNN, for matrices of any size.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.derivatives import Linear, matmul
from ebm_cli.derivatives.matmul import product
from ebm_cli.energies import MLP, ResidualMLP

SHAPES = [((7, 5), 3), ((1, 5), 3), ((64, 40), 24), ((3, 16, 9), 4), ((2, 3, 4, 5), 6)]


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Every product by oneDNN, and the shapes of their first factors."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", True)
    for limit in ("MIN_PRODUCT", "MIN_TRAINED_PRODUCT", "MIN_WEIGHT_GRADIENT", "NARROW"):
        monkeypatch.setattr(matmul, limit, 1)
    seen: list[tuple[int, ...]] = []
    by_onednn = matmul._by_onednn

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(tuple(x.shape))
        return by_onednn(x, weight, bias)

    monkeypatch.setattr(matmul, "_by_onednn", counted)
    return seen


def factors(shape: tuple[int, ...], n_out: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    made = [torch.randn(size, generator=rng) for size in (shape, (n_out, shape[-1]), (n_out,))]
    x, weight, bias = (tensor.requires_grad_() for tensor in made)
    return x, weight, bias


def close(found: Any, truth: Any) -> None:
    """Of one shape, and apart by 1e-5 of their size."""
    pairs = zip(found, truth, strict=True) if isinstance(found, tuple) else [(found, truth)]
    for a, b in pairs:
        assert a.shape == b.shape
        assert (a - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("shape", "n_out"), SHAPES, ids=str)
def test_value_and_derivatives_to_second_order(
    shape: tuple[int, ...], n_out: int, biased: bool, onednn: list[tuple[int, ...]]
) -> None:
    x, weight, bias = factors(shape, n_out)
    wanted = [x, weight, bias] if biased else [x, weight]
    with torch.no_grad():
        close(product(x, weight, bias if biased else None), F.linear(x, weight, bias if biased else None))
    assert onednn == [shape]
    g = torch.randn(*shape[:-1], n_out, requires_grad=True)
    found = []
    for of in (product, F.linear):
        first = torch.autograd.grad((of(x, weight, bias if biased else None) * g).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum((d.square() * d).sum() for d in first[:2]), [x, weight, g])
        found.append((*first, *second))
    close(found[0], found[1])
    # With a single row a product is elementwise.
    assert len(onednn) >= (4 if shape == (1, 5) else 5)


def test_a_factor_may_be_a_view() -> None:
    x, weight, _ = factors((8, 6), 5)
    with torch.no_grad():
        for a, b in ((x.t(), weight[:, :1].expand(5, 8)), (x[::2], weight), (x[:, 1:4], weight[:, ::2])):
            close(product(a, b), F.linear(a, b))
            close(product(a, b.t().contiguous().t()), F.linear(a, b))


def test_only_what_is_asked_for_is_differentiated() -> None:
    x, weight, bias = factors((6, 5), 4)
    close(torch.autograd.grad(product(x.detach(), weight, bias).sum(), [bias]), (torch.full((4,), 6.0),))
    (grad,) = torch.autograd.grad(product(x, weight.detach(), bias.detach()).sum(), [x])
    close(grad, weight.detach().sum(0).expand(6, 5))
    close(torch.autograd.grad(product(x.detach(), weight.detach(), bias).sum(), [bias]), (torch.full((4,), 6.0),))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: torch.func.grad(lambda x: f(x).square().sum()),
        lambda f: torch.func.vmap(f),
        lambda f: lambda x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
        lambda f: torch.func.hessian(lambda x: f(x).square().sum()),
    ],
    ids=["grad", "vmap", "jvp", "hessian"],
)
def test_function_transforms_go_through(transform: Callable[[Any], Any]) -> None:
    x, weight, bias = (tensor.detach() for tensor in factors((3, 5), 4))
    close(transform(lambda x: product(x, weight, bias))(x), transform(lambda x: F.linear(x, weight, bias))(x))


def test_the_same_call_gives_the_same_bits() -> None:
    x, weight, bias = factors((256, 128), 128)
    g = torch.randn(256, 128)
    first, again = (
        (product(x, weight, bias), *torch.autograd.grad(product(x, weight, bias), [x, weight], g)) for _ in range(2)
    )
    assert all(map(torch.equal, first, again))


def test_what_it_does_not_cover_is_torch(onednn: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = factors((8, 6), 5)
    assert torch.equal(
        product(x.double(), weight.double(), bias.double()), F.linear(x.double(), weight.double(), bias.double())
    )
    monkeypatch.setattr(matmul, "MIN_TRAINED_PRODUCT", 8 * 6 * 5 + 1)
    assert torch.equal(product(x, weight, bias), F.linear(x, weight, bias))
    assert not onednn
    with torch.no_grad():
        product(x, weight, bias)
        assert len(onednn) == 1
        monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", False)
        assert torch.equal(product(x, weight, bias), F.linear(x, weight, bias))
    assert len(onednn) == 1


@pytest.mark.parametrize("kind", [MLP, ResidualMLP])
def test_an_energy_of_wide_layers(kind: type[MLP] | type[ResidualMLP], onednn: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    energy = kind((20,), width=24)
    assert sum(isinstance(m, Linear) for m in energy.modules()) >= 2
    x = torch.randn(9, 20)
    parameters = list(energy.parameters())
    found = energy(x), *torch.autograd.grad(energy(x).sum(), parameters)
    assert onednn
    energy.double()
    truth = energy(x.double()), *torch.autograd.grad(energy(x.double()).sum(), parameters)
    for a, b in zip(found, truth, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + 1e-12


def test_a_layer_is_a_linear_one_in_a_checkpoint() -> None:
    layer, plain = Linear(20, 8), nn.Linear(20, 8)
    plain.load_state_dict(layer.state_dict())
    close(layer(torch.ones(2, 20)), plain(torch.ones(2, 20)))


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
