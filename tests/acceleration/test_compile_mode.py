"""`compile=`: compiled sweeps are the eager ones, `auto` is a rule, what it came to is kept, a failure is one line."""

import copy
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.acceleration import compile_mode
from ebm_cli.acceleration.compile_mode import Work, apply_compile_mode, is_worth_compiling
from ebm_cli.derivatives import (
    Compiled,
    ScoreTerms,
    exact_terms,
    gradient,
    laplacian,
    matmul,
    sliced_terms,
    value_and_grad,
)
from ebm_cli.derivatives.chunked_laplacian import Budget
from ebm_cli.energies import MLP, Conv, Energy, Quadratic, ResidualMLP
from ebm_cli.methods import NCE
from ebm_cli.methods.whitening import Whitening
from ebm_cli.samplers import Kernel
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.training import session
from ebm_cli.training.monitor import Monitor
from tests.support import FAST, Ebm, at_step, differences, last, no_pictures, trained

# torch's compiler uses what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUICK = "aot_eager"
"""Traces as the compiler does, and runs torch's own kernels: what is left of compiling takes seconds, not a minute."""


def points(energy: Energy, n: int = 6) -> tuple[Tensor, Tensor]:
    dtype = next(energy.parameters()).dtype
    return torch.randn(n, *energy.shape, dtype=dtype), torch.randn(2, n, *energy.shape, dtype=dtype)


def exact(energy: Energy, x: Tensor, v: Tensor) -> list[Tensor]:
    """What exact score matching differentiates, with the gradients in the parameters."""
    return with_gradients(energy, uncancelled(exact_terms(energy, x)))


def uncancelled(terms: ScoreTerms) -> ScoreTerms:
    """The objective is a difference that may nearly cancel: without what is taken off, rounding is of its own size."""
    return terms._replace(objective=terms.objective + terms.curvature)


def everything(energy: Energy, x: Tensor, v: Tensor) -> list[Tensor]:
    """All that can be compiled."""
    found = [*value_and_grad(energy, x), *exact(energy, x, v)]
    for exact_square in (True, False):
        found += with_gradients(energy, uncancelled(sliced_terms(energy, x, v, exact_square=exact_square)))
    return found + with_gradients(energy, (gradient(energy, x),))


def with_gradients(energy: Energy, outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs, and the gradient in the parameters of a sum of all their numbers, each with a weight of its own."""
    weighted = [(out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum() for out in outputs]
    grads = torch.autograd.grad(torch.stack(weighted).sum(), list(energy.parameters()), allow_unused=True)
    return [out.detach() for out in outputs] + [g for g in grads if g is not None]


def with_compiled(energy: Energy, n_rows: int, told: list[str], backend: Any = QUICK) -> Energy:
    like = next(energy.parameters())
    energy.compiled = Compiled(n_rows, like.dtype, like.device, told.append, backend)
    return energy


def largest_error(ours: list[Tensor], theirs: list[Tensor]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).detach().norm() / b.detach().norm().clamp_min(1e-30)) for a, b in pairs)


def work(directions: int | None = 1, steps: int = 10**6, **others: Any) -> Work:
    return Work(steps, 128, directions, **others)


@pytest.fixture(autouse=True)
def _no_compiled_code_is_left() -> Iterator[None]:
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


# --- compiled sweeps --------------------------------------------------------------------------------------------------


def test_what_is_compiled_is_the_eager_sweep() -> None:
    energy, told = MLP((3,), width=4, depth=1).double(), list[str]()
    x, v = points(energy)
    expected = [*value_and_grad(energy, x), *sliced_terms(energy, x, v, exact_square=True)]
    with_compiled(energy, len(x), told)
    found = [*value_and_grad(energy, x), *sliced_terms(energy, x, v, exact_square=True)]
    assert told == []
    assert len(energy.compiled.functions) == 2
    assert largest_error(found, expected) < 1e-10
    # And not a constant that was traced: weights that moved are read.
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter += 0.1
    moved = value_and_grad(energy, x)[0]
    assert largest_error([moved], [energy(x)]) < 1e-10
    assert not torch.allclose(moved, expected[0])


MODELS: dict[str, Callable[[], Energy]] = {
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
def test_compiled_code_agrees(name: str, dtype: torch.dtype, compute: Callable[..., list[Tensor]]) -> None:
    """Values, derivatives and gradients in the parameters, in training mode; and what moves there."""
    torch.manual_seed(0)
    energy, told = MODELS[name]().to(dtype), list[str]()
    for parameter in energy.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, v = points(energy)
    other = copy.deepcopy(energy)
    expected = compute(energy, x, v)
    found = compute(with_compiled(other, len(x), told, "inductor"), x, v)
    assert told == []
    assert len(other.compiled.functions) == (4 if compute is everything else 1)
    bound = 1e-5 if dtype is torch.float32 else 1e-10
    assert largest_error(found, expected) < bound
    assert largest_error(list(other.buffers()), list(energy.buffers())) < bound if list(energy.buffers()) else True


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="a torch without oneDNN")
@pytest.mark.parametrize("backend", [QUICK, pytest.param("inductor", marks=pytest.mark.slow)])
def test_products_by_onednn_are_compiled(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name of ours: the compiler would take torch's operator for one of a constant weight."""
    torch.manual_seed(0)
    energy, told = MLP((20,), width=24), list[str]()
    x, v = points(energy)
    expected = everything(energy, x, v)
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", True)
    for limit in ("MIN_PRODUCT", "MIN_TRAINED_PRODUCT", "NARROW"):
        monkeypatch.setattr(matmul, limit, 1)
    seen: set[str] = set()

    def seeing(graph: Any, inputs: Any) -> Any:
        from torch._dynamo.backends.registry import lookup_backend

        seen.update(str(node.target) for m in graph.modules() if hasattr(m, "graph") for node in m.graph.nodes)
        return lookup_backend(backend)(graph, inputs)

    found = everything(with_compiled(energy, len(x), told, seeing), x, v)
    assert told == []
    assert largest_error(found, expected) < 1e-5
    assert any("ebm_cli" in name for name in seen)
    assert not any("mkldnn" in name for name in seen)


def test_other_points_are_eager() -> None:
    """Another number, another dtype, an energy without rules, a Laplacian in blocks: nothing is compiled for them."""
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


def test_a_laplacian_in_chunks_is_eager() -> None:
    budget = Budget(chunk=40, negligible=0)
    energy = with_compiled(MLP((3,), width=4, depth=1), 6, [])
    x, _ = points(energy)
    torch.testing.assert_close(exact_terms(energy, x, budget).curvature, laplacian(energy, x, budget)[1].mean())
    assert energy.compiled.functions == ()


def test_a_whitened_energy_is_compiled_once() -> None:
    """Score matching in whitened coordinates makes a new module every step: nothing is compiled anew for it."""
    energy, told = MLP((3,), width=4, depth=1).double(), list[str]()
    x, _ = points(energy)
    whitening = Whitening((3,), torch.randn(20, 3)).double()
    expected = exact_terms(*whitening.transform(energy, x))
    calls: list[None] = []

    def counted(graph: Any, inputs: object) -> Any:
        calls.append(None)
        return graph.forward

    with_compiled(energy, len(x), told, counted)
    for _ in range(3):
        found = exact_terms(*whitening.transform(energy, x))
        assert largest_error(list(found), list(expected)) < 1e-10
    assert (told, len(calls)) == ([], 1)


def test_a_failing_compiler_is_one_line() -> None:
    def broken(graph: object, inputs: object) -> Any:
        raise RuntimeError("out of registers")

    energy, told = MLP((3,), width=4, depth=1), list[str]()
    x, _ = points(energy)
    expected = value_and_grad(energy, x)
    with_compiled(energy, len(x), told, broken)
    for _ in range(2):
        assert largest_error(list(value_and_grad(energy, x)), list(expected)) == 0
    assert len(told) == 1
    assert "continuing without it" in told[0]
    assert "out of registers" in told[0]
    assert "\n" not in told[0]


def test_more_networks_than_the_compiler_keeps() -> None:
    """Jobs of a sweep in one process: the compiler's limit on variants of a function is not theirs together."""
    import torch._dynamo.config

    told: list[str] = []
    with torch._dynamo.config.patch(recompile_limit=1):
        for dim in (2, 3, 4):
            energy = with_compiled(MLP((dim,), width=4, depth=1), 6, told)
            x, _ = points(energy)
            assert largest_error([value_and_grad(energy, x)[0]], [energy(x)]) < 1e-5
    assert told == []


# --- what the word comes to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "n_parameters", "device", "answer"),
    [
        (work(None), 20_000, "cpu", False),
        (work(None), 20_000, "cuda", False),
        (work(2, steps=8_000), 20_000, "cpu", False),
        (work(2, steps=90_000), 20_000, "cpu", True),
        (work(0, steps=10**9), 20_000, "cpu", False),
        (work(100, steps=10_000), 30_000, "cpu", True),
        (work(0, steps=5_000), 20_000, "cuda", True),
        (work(0, steps=4_999), 20_000, "cuda", False),
        (work(784, steps=10**9), 10**6, "mps", False),
    ],
)
def test_auto_is_a_rule(
    of: Work, n_parameters: int, device: str, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", False)
    assert is_worth_compiling(of, n_parameters, device) is answer


@pytest.mark.parametrize(("steps", "answer"), [(10_000, False), (99_999, False), (100_000, True)])
def test_size_is_no_reason_where_products_are_onednns(
    steps: int, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "ONEDNN_IS_FASTER", True)
    assert is_worth_compiling(work(100, steps=steps), 30_000, "cpu") is answer


class Unruled(Energy):
    """f(x) = Σ wx⁴, of a form that no rule knows."""

    shape = (3,)

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return (self.w * x**4).sum(1)


@pytest.mark.parametrize(
    ("make", "of", "line"),
    [
        (lambda: MLP((3,), width=4), work(None), "takes no derivative in x"),
        (lambda: MLP((3,), width=4), work(0), "gradients alone are no faster"),
        (Unruled, work(1), "Unruled has layers without a derivative rule"),
        (lambda: torch.sin, work(1), "not under given rows"),
    ],
)
def test_what_cannot_be_compiled_is_one_line(make: Callable[[], Any], of: Work, line: str) -> None:
    told: list[str] = []
    energy = make()
    assert apply_compile_mode("always", energy, of, 1, told.append) == "never"
    assert len(told) == 1
    assert told[0].startswith("compile=always: ")
    assert line in told[0]
    assert getattr(energy, "compiled", None) is None


def test_auto_says_nothing() -> None:
    """Under given rows the energy is a function, and what is made of trained energies has no parameters."""
    told: list[str] = []
    assert apply_compile_mode("auto", torch.sin, work(), 1, told.append) == "never"
    plain = Quadratic((3,))
    for name, parameter in list(plain.named_parameters()):
        delattr(plain, name)
        plain.register_buffer(name, parameter.detach())
    assert apply_compile_mode("auto", plain, work(steps=10), 1, told.append) == "never"
    assert apply_compile_mode("never", plain, work(), 1, told.append) == "never"
    assert told == []


@pytest.mark.parametrize(("word", "n_lines"), [("always", 1), ("auto", 0), ("never", 0)])
def test_without_a_compiler_it_is_never(word: Any, n_lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` asked for nothing, so it says nothing."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    told: list[str] = []
    energy = MLP((3,), width=4)
    assert apply_compile_mode(word, energy, work(), 1, told.append) == "never"
    assert len(told) == n_lines
    assert all("no C++ compiler (no-such-compiler)" in line for line in told)
    assert energy.compiled is None


@pytest.mark.parametrize(("word", "comes_to"), [("always", "always"), ("auto", "always"), ("never", "never")])
def test_with_one_it_is_compiled(word: Any, comes_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    told: list[str] = []
    energy = MLP((3,), width=4)
    assert apply_compile_mode(word, energy, work(), 1, told.append) == comes_to
    assert (energy.compiled is not None) == (comes_to == "always")
    assert told == []
    assert "compiled" not in "".join(energy.state_dict())


def test_native_is_asked_of_the_chains_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, list[str]]] = []

    def attach_native_chains(energy: Energy, threads: int, kernels: Iterable[Kernel]) -> str | None:
        asked.append((threads, [type(kernel).__name__ for kernel in kernels]))
        return "no" if "Underdamped" in asked[-1][1] else None

    monkeypatch.setattr(compile_mode, "attach_native_chains", attach_native_chains)
    told: list[str] = []
    energy = MLP((3,), width=4)
    assert apply_compile_mode("native", energy, work(None, kernels=(Langevin(),)), 2, told.append) == "native"
    assert told == []
    assert apply_compile_mode("native", energy, work(kernels=(Langevin(), Underdamped())), 1, told.append) == "never"
    assert told == ["compile=native: no; running eager"]
    assert asked == [(2, ["Langevin"]), (1, ["Langevin", "Underdamped"])]
    assert energy.compiled is None


# --- runs -------------------------------------------------------------------------------------------------------------

SSM = [*FAST, "method=ssm", "energy.depth=1", "steps=6"]


def resolved(run: Path) -> str:
    word: str = last(run)["config"]["compile"]
    return word


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled runs without the half minute that the compiler takes."""
    no_pictures(monkeypatch)
    monkeypatch.setattr(compile_mode, "Compiled", partial(Compiled, backend=QUICK))
    monkeypatch.setenv("CXX", sys.executable)


def test_a_run_goes_on_as_it_began(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """What `auto` came to is in the checkpoint, and holds where the rule would now say otherwise; bit for bit."""
    monkeypatch.setattr(compile_mode, "PAYS_AFTER", 1)
    assert ebm("train", *SSM, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *SSM, "hydra.run.dir=half").code == 143
    monkeypatch.setattr(compile_mode, "PAYS_AFTER", 10**9)
    sizes: list[int] = []
    call = Compiled.__call__
    monkeypatch.setattr(Compiled, "__call__", lambda self, *args: sizes.append(len(args[2])) or call(self, *args))
    assert ebm("train", *SSM, "hydra.run.dir=half").code == 0
    assert resolved(tmp_path / "half") == resolved(tmp_path / "whole") == "always"
    assert sizes[:3] == [16, 16, 16]
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


def test_a_short_run_is_eager(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    assert ebm("train", *SSM, "hydra.run.dir=run").code == 0
    assert resolved(tmp_path / "run") == "never"
    ran = ebm("train", "checkpoint=run", "steps=7", "compile=always")
    assert ran.code == 1
    assert ran.err.startswith("ebm: compile: cannot change when a run is continued")


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_rounded_in_steps_alone(
    precision: str, ebm: Ebm, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """What a model is measured by, in between and at the end, is computed in full."""
    seen: dict[str, set[str]] = {"loss": set(), "evaluate": set(), "measure": set()}

    def watched(owner: Any, name: str, key: str) -> None:
        function = getattr(owner, name)

        def watching(*args: Any, **named: Any) -> Any:
            seen[key].add(torch.get_float32_matmul_precision())
            return function(*args, **named)

        monkeypatch.setattr(owner, name, watching)

    watched(NCE, "loss", "loss")
    watched(Monitor, "evaluate", "evaluate")
    watched(session, "measure", "measure")
    words = [*FAST, "steps=4", "eval_every=2", f"precision={precision}"]
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    assert seen == {"loss": {precision}, "evaluate": {"highest"}, "measure": {"highest"}}


def test_a_run_of_before_there_was_the_key_goes_on(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    assert ebm("train", *SSM, "hydra.run.dir=run").code == 0
    config = tmp_path / "run" / "config.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("compile:")]
    config.write_text("\n".join(kept))
    assert ebm("train", "checkpoint=run", "steps=7").code == 0
    assert resolved(tmp_path / "run") == "never"


def test_a_line_says_what_cannot_be_had(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    ran = ebm("train", *FAST, "method=nce", "steps=2", "compile=always", "hydra.run.dir=run")
    assert ran.code == 0
    assert ran.out.count("compile=always: this method takes no derivative in x") == 1
    assert resolved(tmp_path / "run") == "never"
    few = ["n_samples=20", "n_chains=10", "burn_in=2", "thin=1", "sampler=underdamped"]
    ran = ebm("sample", "checkpoint=run", *few, "compile=native")
    assert ran.code == 0
    assert ran.out.count("compile=native: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "word"), [("sm", "always"), ("ssm", "always"), ("cd", "native")])
def test_a_compiled_run_resumes_bit_for_bit(
    method: str, word: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the compiler, and its cache on disk."""
    no_pictures(monkeypatch)
    words = [*FAST, f"method={method}", "steps=6", f"compile={word}"]
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    torch.compiler.reset()
    ran = ebm("train", "checkpoint=half")
    assert (ran.code, ran.err) == (0, "")
    assert "compile=" not in ran.out
    assert resolved(tmp_path / "half") == word
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []
