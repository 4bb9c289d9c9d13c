"""Compiled sweeps equal the eager ones, and a failure of the compiler is one line."""

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.derivatives import (
    Compiled,
    ScoreTerms,
    compiled,
    exact_terms,
    gradient,
    laplacian,
    matmul,
    sliced_terms,
    value_and_grad,
)
from ebm_cli.derivatives.chunked_laplacian import Budget
from ebm_cli.energies import MLP, Conv, Energy, Quadratic, ResidualMLP
from ebm_cli.methods.whitening import Whitening
from ebm_cli.system.torch_internals import has_onednn_linear

# TorchDynamo uses what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUICK = "aot_eager"
"""A backend that traces as the compiler does and runs torch's own kernels: seconds instead of a minute."""


def points(energy: Energy, n: int = 6) -> tuple[Tensor, Tensor]:
    dtype = next(energy.parameters()).dtype
    return torch.randn(n, *energy.shape, dtype=dtype), torch.randn(2, n, *energy.shape, dtype=dtype)


def exact(energy: Energy, x: Tensor, v: Tensor) -> list[Tensor]:
    """The terms of exact score matching, with their gradients in the parameters."""
    return with_gradients(energy, uncancelled(exact_terms(energy, x)))


def uncancelled(terms: ScoreTerms) -> ScoreTerms:
    """The terms with curvature added to the objective: their difference may nearly cancel, with large rounding."""
    return terms._replace(objective=terms.objective + terms.curvature)


def everything(energy: Energy, x: Tensor, v: Tensor) -> list[Tensor]:
    """The outputs of all four functions that can be compiled, with their gradients in the parameters."""
    found = [*value_and_grad(energy, x), *exact(energy, x, v)]
    for exact_square in (True, False):
        found += with_gradients(energy, uncancelled(sliced_terms(energy, x, v, exact_square=exact_square)))
    return found + with_gradients(energy, (gradient(energy, x),))


def with_gradients(energy: Energy, outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs, and the gradient in the parameters of a sum of all their numbers with different weights."""
    weighted = [(out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum() for out in outputs]
    grads = torch.autograd.grad(torch.stack(weighted).sum(), list(energy.parameters()), allow_unused=True)
    return [out.detach() for out in outputs] + [g for g in grads if g is not None]


def with_compiled(energy: Energy, n_rows: int, warnings: list[str], backend: Any = QUICK) -> Energy:
    like = next(energy.parameters())
    energy.compiled = Compiled(n_rows, like.dtype, like.device, warnings.append, backend)
    return energy


def largest_error(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference of two tensors, relative to the norm."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).detach().norm() / b.detach().norm().clamp_min(1e-30)) for a, b in pairs)


@pytest.fixture(autouse=True)
def _reset_compiler() -> Iterator[None]:
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.mark.slow
def test_compiled_sweep_is_the_eager_one_for_any_weights() -> None:
    energy, warnings = MLP((3,), width=4, depth=1).double(), list[str]()
    x, v = points(energy)
    expected = [*value_and_grad(energy, x), *sliced_terms(energy, x, v, exact_square=True)]
    with_compiled(energy, len(x), warnings)
    found = [*value_and_grad(energy, x), *sliced_terms(energy, x, v, exact_square=True)]
    assert warnings == []
    assert len(energy.compiled.functions) == 2
    assert largest_error(found, expected) < 1e-10
    # Weights are read at every call, and are no constants of the trace.
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter += 0.1
    moved = value_and_grad(energy, x)[0]
    assert largest_error([moved], [energy(x)]) < 1e-10
    assert not torch.allclose(moved, expected[0])


ENERGIES: dict[str, Callable[[], Energy]] = {
    "mlp": lambda: MLP((3,), width=16),
    "narrow": lambda: MLP((12,), width=8, activation="softplus"),
    "residual": lambda: ResidualMLP((3,), width=8, depth=2, activation="gelu"),
    "quadratic": lambda: Quadratic((3,)),
    "conv, spectral norm": lambda: Conv((1, 6, 6), width=4, spectral_norm=True),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "compute"),
    [
        ("mlp", torch.float32, everything),
        ("mlp", torch.float64, exact),
        ("narrow", torch.float32, exact),
        ("residual", torch.float32, exact),
        ("quadratic", torch.float64, exact),
        ("conv, spectral norm", torch.float32, exact),
        ("conv, spectral norm", torch.float64, exact),
    ],
)
def test_inductor_equals_eager(name: str, dtype: torch.dtype, compute: Callable[..., list[Tensor]]) -> None:
    """Values, derivatives, gradients in the parameters, and the buffers that training mode updates."""
    torch.manual_seed(0)
    energy, warnings = ENERGIES[name]().to(dtype), list[str]()
    for parameter in energy.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, v = points(energy)
    other = copy.deepcopy(energy)
    expected = compute(energy, x, v)
    found = compute(with_compiled(other, len(x), warnings, "inductor"), x, v)
    assert warnings == []
    assert len(other.compiled.functions) == (4 if compute is everything else 1)
    bound = 1e-5 if dtype is torch.float32 else 1e-10
    assert largest_error(found, expected) < bound
    assert largest_error(list(other.buffers()), list(energy.buffers())) < bound if list(energy.buffers()) else True


@pytest.mark.slow
@pytest.mark.skipif(not has_onednn_linear(), reason="a torch without oneDNN's linear layer")
@pytest.mark.parametrize("backend", [QUICK, pytest.param("inductor", marks=pytest.mark.slow)])
def test_products_by_onednn_are_compiled(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under this package's name for it: the compiler takes torch's operator for one with a constant weight."""
    torch.manual_seed(0)
    energy, warnings = MLP((20,), width=128), list[str]()
    x, v = points(energy, 512)
    expected = everything(energy, x, v)
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", True)
    operators: set[str] = set()

    def recorded(graph: Any, inputs: Any) -> Any:
        from torch._dynamo.backends.registry import lookup_backend

        operators.update(str(node.target) for m in graph.modules() if hasattr(m, "graph") for node in m.graph.nodes)
        return lookup_backend(backend)(graph, inputs)

    found = everything(with_compiled(energy, len(x), warnings, recorded), x, v)
    assert warnings == []
    assert largest_error(found, expected) < 1e-5
    assert any("ebm_cli" in name for name in operators)
    assert not any("mkldnn" in name for name in operators)


def test_other_points_run_eager() -> None:
    """Another number of points, another dtype, an energy without rules."""
    energy = with_compiled(MLP((3,), width=4, depth=1), 6, [])
    x, _ = points(energy)
    value_and_grad(energy, x[:5])
    exact_terms(energy, x[:5])
    laplacian(energy, x)
    assert energy.compiled.functions == ()
    double = copy.deepcopy(energy).double()
    assert double.compiled is energy.compiled
    value_and_grad(double, x.double())
    energy.network[0].register_forward_hook(lambda module, inputs, out: out)
    value_and_grad(energy, x)
    exact_terms(energy, x)
    assert energy.compiled.functions == ()


def test_laplacian_in_chunks_runs_eager() -> None:
    budget = Budget(chunk=40, negligible=0)
    energy = with_compiled(MLP((3,), width=4, depth=1), 6, [])
    x, _ = points(energy)
    terms = exact_terms(energy, x, budget)
    torch.testing.assert_close(terms.curvature, laplacian(energy, x, budget)[1].mean())
    assert energy.compiled.functions == ()


def test_whitened_energy_is_compiled_once() -> None:
    """Score matching in whitened coordinates makes a new module in every step, which needs no new compilation."""
    energy, warnings = MLP((3,), width=4, depth=1).double(), list[str]()
    x, _ = points(energy)
    whitening = Whitening((3,), torch.randn(20, 3)).double()
    expected = exact_terms(*whitening.transform(energy, x))
    calls: list[None] = []

    def counted(graph: Any, inputs: object) -> Any:
        calls.append(None)
        return graph.forward

    with_compiled(energy, len(x), warnings, counted)
    for _ in range(3):
        found = exact_terms(*whitening.transform(energy, x))
        assert largest_error(list(found), list(expected)) < 1e-10
    assert (warnings, len(calls)) == ([], 1)


@pytest.mark.parametrize("failures", [None, (RuntimeError, RuntimeError)], ids=["torch's", "fallback"])
def test_failing_compiler_gives_one_warning(failures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a torch whose names for its failures are unknown."""
    if failures is not None:
        monkeypatch.setattr(compiled, "compiler_failures", lambda: failures)

    def broken(graph: object, inputs: object) -> Any:
        raise RuntimeError("out of registers")

    energy, warnings = MLP((3,), width=4, depth=1), list[str]()
    x, _ = points(energy)
    expected = value_and_grad(energy, x)
    with_compiled(energy, len(x), warnings, broken)
    for _ in range(2):
        assert largest_error(list(value_and_grad(energy, x)), list(expected)) == 0
    assert len(warnings) == 1
    assert warnings[0].startswith("torch.compile failed; continuing without it (")
    assert "out of registers" in warnings[0]
    assert "\n" not in warnings[0]


def test_more_networks_than_the_compilers_limit() -> None:
    """Jobs of a sweep in one process: the limit on the variants of a function counts them together."""
    import torch._dynamo.config

    warnings: list[str] = []
    with torch._dynamo.config.patch(recompile_limit=1):
        for dim in (2, 3, 4):
            energy = with_compiled(MLP((dim,), width=4, depth=1), 6, warnings)
            x, _ = points(energy)
            assert largest_error([value_and_grad(energy, x)[0]], [energy(x)]) < 1e-5
    assert warnings == []
