"""`compile=`: `auto` is a rule, an unavailable mode is one line, and a resumed run keeps the resolved mode."""

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
from ebm_cli.derivatives import Compiled
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.samplers import Kernel
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.underdamped import Underdamped
from tests.support import FAST, Ebm, at_step, differences, last, no_pictures, trained

# TorchDynamo uses what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def work(directions: int | None = 1, steps: int = 10**6, **others: Any) -> Work:
    return Work(steps, 128, directions, **others)


@pytest.fixture(autouse=True)
def _reset_compiler() -> Iterator[None]:
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


# --- the rule ---------------------------------------------------------------------------------------------------------


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
def test_auto_is_a_rule(of: Work, n_parameters: int, device: str, answer: bool) -> None:
    assert is_worth_compiling(of, n_parameters, device, onednn_is_faster=False) is answer


@pytest.mark.parametrize(("steps", "answer"), [(10_000, False), (99_999, False), (100_000, True)])
def test_auto_ignores_the_size_where_products_are_onednns(steps: int, answer: bool) -> None:
    assert is_worth_compiling(work(100, steps=steps), 30_000, "cpu", onednn_is_faster=True) is answer


# --- the resolved mode ------------------------------------------------------------------------------------------------


class Unruled(Energy):
    """f(x) = Σ wx⁴, without a derivative rule."""

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
        (lambda: torch.sin, work(1), "conditioned on given rows"),
    ],
)
def test_uncompilable_energy_runs_eager_with_one_line(make: Callable[[], Any], of: Work, line: str) -> None:
    warnings: list[str] = []
    energy = make()
    assert apply_compile_mode("always", energy, of, 1, warnings.append) == "never"
    assert len(warnings) == 1
    assert warnings[0].startswith("compile=always: ")
    assert warnings[0].endswith("; running eager")
    assert line in warnings[0]
    assert getattr(energy, "compiled", None) is None


def test_auto_runs_eager_without_a_line() -> None:
    """A conditioned energy is a plain function, and one that is composed of trained energies has no parameters."""
    warnings: list[str] = []
    assert apply_compile_mode("auto", torch.sin, work(), 1, warnings.append) == "never"
    plain = Quadratic((3,))
    for name, parameter in list(plain.named_parameters()):
        delattr(plain, name)
        plain.register_buffer(name, parameter.detach())
    assert apply_compile_mode("auto", plain, work(steps=10), 1, warnings.append) == "never"
    assert apply_compile_mode("never", plain, work(), 1, warnings.append) == "never"
    assert warnings == []


@pytest.mark.parametrize(("mode", "n_lines"), [("always", 1), ("auto", 0), ("never", 0)])
def test_without_a_compiler_the_mode_is_never(mode: Any, n_lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` requests no mode, so that it gives no warning."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    warnings: list[str] = []
    energy = MLP((3,), width=4)
    assert apply_compile_mode(mode, energy, work(), 1, warnings.append) == "never"
    assert len(warnings) == n_lines
    assert all("no C++ compiler (no-such-compiler) is installed" in line for line in warnings)
    assert energy.compiled is None


@pytest.mark.parametrize(("mode", "resolved"), [("always", "always"), ("auto", "always"), ("never", "never")])
def test_with_a_compiler_the_energy_is_compiled(mode: Any, resolved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    warnings: list[str] = []
    energy = MLP((3,), width=4)
    assert apply_compile_mode(mode, energy, work(), 1, warnings.append) == resolved
    assert (energy.compiled is not None) == (resolved == "always")
    assert warnings == []
    assert "compiled" not in "".join(energy.state_dict())


def test_native_mode_depends_on_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, list[str]]] = []

    def attach(energy: Energy, threads: int, kernels: Iterable[Kernel]) -> str | None:
        asked.append((threads, [type(kernel).__name__ for kernel in kernels]))
        return "no" if "Underdamped" in asked[-1][1] else None

    monkeypatch.setattr(compile_mode, "attach_native_chains", attach)
    warnings: list[str] = []
    energy = MLP((3,), width=4)
    kernel = Langevin()
    assert apply_compile_mode("native", energy, work(None, kernels=(kernel,)), 2, warnings.append) == "native"
    assert warnings == []
    kernels = kernel, Underdamped()
    assert apply_compile_mode("native", energy, work(kernels=kernels), 1, warnings.append) == "never"
    assert warnings == ["compile=native: no; running eager"]
    assert asked == [(2, ["Langevin"]), (1, ["Langevin", "Underdamped"])]
    assert energy.compiled is None


# --- runs -------------------------------------------------------------------------------------------------------------

SSM = [*FAST, "method=ssm", "energy.depth=1", "steps=6"]


def resolved_mode(run: Path) -> str:
    mode: str = last(run)["config"]["compile"]
    return mode


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled runs without the half minute that the compiler takes: its backend runs torch's own kernels."""
    no_pictures(monkeypatch)
    monkeypatch.setattr(compile_mode, "Compiled", partial(Compiled, backend="aot_eager"))
    monkeypatch.setenv("CXX", sys.executable)


def test_resumed_run_keeps_its_mode(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """The mode that `auto` resolved to, bit for bit, although the rule would now give another."""
    monkeypatch.setattr(compile_mode, "WORTH_AFTER", 1)
    assert ebm("train", *SSM, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *SSM, "hydra.run.dir=half").code == 143
    monkeypatch.setattr(compile_mode, "WORTH_AFTER", 10**9)
    sizes: list[int] = []
    call = Compiled.__call__
    monkeypatch.setattr(Compiled, "__call__", lambda self, *args: sizes.append(len(args[2])) or call(self, *args))
    assert ebm("train", *SSM, "hydra.run.dir=half").code == 0
    assert resolved_mode(tmp_path / "half") == resolved_mode(tmp_path / "whole") == "always"
    assert sizes[:3] == [16, 16, 16]
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


def test_short_run_is_eager_and_stays_so(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    assert ebm("train", *SSM, "hydra.run.dir=run").code == 0
    assert resolved_mode(tmp_path / "run") == "never"
    ran = ebm("train", "checkpoint=run", "steps=7", "compile=always")
    assert ran.code == 1
    assert ran.err.startswith("ebm: compile: cannot change")


def test_stored_config_without_the_key_is_eager(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    assert ebm("train", *SSM, "hydra.run.dir=run").code == 0
    config = tmp_path / "run" / "config.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("compile:")]
    config.write_text("\n".join(kept))
    assert ebm("train", "checkpoint=run", "steps=7").code == 0
    assert resolved_mode(tmp_path / "run") == "never"


def test_unavailable_mode_is_one_line_of_the_command(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    ran = ebm("train", *FAST, "method=nce", "steps=2", "compile=always", "hydra.run.dir=run")
    assert ran.code == 0
    assert ran.out.count("compile=always: this method takes no derivative in x") == 1
    assert resolved_mode(tmp_path / "run") == "never"
    few = ["n_samples=20", "n_chains=10", "burn_in=2", "thin=1", "sampler=underdamped"]
    ran = ebm("sample", "checkpoint=run", *few, "compile=native")
    assert ran.code == 0
    assert ran.out.count("compile=native: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "mode"), [("sm", "always"), ("ssm", "always"), ("cd", "native")])
def test_accelerated_run_resumes_bit_for_bit(
    method: str, mode: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the compiler, and its cache on disk."""
    no_pictures(monkeypatch)
    words = [*FAST, f"method={method}", "steps=6", f"compile={mode}"]
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    torch.compiler.reset()
    ran = ebm("train", "checkpoint=half")
    assert (ran.code, ran.err) == (0, "")
    assert "compile=" not in ran.out
    assert resolved_mode(tmp_path / "half") == mode
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []
