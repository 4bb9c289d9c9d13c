"""`compile=`: `auto` is a rule, an unavailable mode is one line, and a resumed run keeps the resolved mode."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.acceleration import compile_mode
from ebm_cli.acceleration.compile_mode import (
    ChainWork,
    Work,
    apply_compile_mode,
    is_worth_compiling,
    is_worth_native_code,
    is_worth_native_values,
)
from ebm_cli.derivatives import Compiled
from ebm_cli.energies import MLP, Energy, Quadratic, ResidualMLP
from ebm_cli.samplers import Kernel
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped
from tests.support import FAST, TINY, Ebm, at_step, differences, last, no_pictures, trained

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


# --- native chains ----------------------------------------------------------------------------------------------------


def chains(kernel: Kernel | None = None, n_runs: int = 4_000, n_steps: int = 5, n_chains: int = 256) -> ChainWork:
    return ChainWork(kernel or MALA(), n_runs, n_steps, n_chains)


@pytest.mark.parametrize(
    ("of", "n_parameters", "answer"),
    [
        ((chains(),), 17_025, True),
        ((chains(n_runs=100),), 17_025, False),
        ((), 17_025, False),
        ((chains(Langevin(), 3_199, 5, 1),), 1, False),
        ((chains(Langevin(), 3_200, 5, 1),), 1, True),
        ((chains(Langevin(), 1_600, 5, 1), chains(Langevin(), 1, 8_000, 1)), 1, True),
        ((chains(HMC(n_leapfrog=10), 400, 5, 1),), 1, True),
        ((chains(MALA(), 400, 5, 1),), 1, False),
        ((chains(Metropolis(), 10**6),), 17_025, False),
    ],
)
def test_native_code_pays_for_many_gradients(of: tuple[ChainWork, ...], n_parameters: int, answer: bool) -> None:
    assert is_worth_native_code(of, n_parameters) is answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The kernels of each time that native chains are asked for, in place of a build."""
    seen: list[list[str]] = []

    def attach(energy: Energy, threads: int, kernels: Collection[Kernel], *, has_values: bool) -> str | None:
        seen.append([type(kernel).__name__ for kernel in kernels])
        return "no" if seen[-1] == ["Underdamped"] and not has_values else None

    monkeypatch.setattr(compile_mode, "attach_native_code", attach)
    monkeypatch.setenv("CXX", sys.executable)
    return seen


def test_native_mode_needs_a_kernel_that_is_covered(asked: list[list[str]]) -> None:
    warnings: list[str] = []
    energy = MLP((3,), width=4)
    of = work(None, chains=(chains(Langevin()), chains(Underdamped())))
    assert apply_compile_mode("native", energy, of, 2, warnings.append) == "native"
    assert warnings == []
    of = work(chains=(chains(Underdamped()),))
    assert apply_compile_mode("native", energy, of, 1, warnings.append) == "never"
    assert warnings == ["compile=native: no; running eager"]
    of = work(None, chains=(chains(Underdamped()),), n_values=1)
    assert apply_compile_mode("native", energy, of, 1, warnings.append) == "native"
    assert warnings == ["compile=native: no; running eager"]
    assert asked == [["Langevin", "Underdamped"], ["Underdamped"], ["Underdamped"]]
    assert energy.compiled is None


@pytest.mark.parametrize(("n_values", "answer"), [(8_000 * 1_280, True), (8_000 * 512, False), (0, False)])
def test_native_code_pays_for_many_energies(n_values: float, answer: bool) -> None:
    """A run of ed with its defaults is worth it; one of nce saves hardly more than the build takes."""
    assert is_worth_native_values(work(None, n_values=n_values), 17_025) is answer


@pytest.mark.parametrize(
    ("energy", "of", "mode"),
    [
        (MLP((3,)), work(0, chains=(chains(),)), "native"),
        (MLP((3,)), work(None, chains=(chains(Underdamped()), chains())), "native"),
        (MLP((3,)), work(None, n_values=10**7), "native"),
        (MLP((3,)), work(None, n_values=10**6), "never"),
        (ResidualMLP((3,)), work(None, n_values=10**7), "never"),
        (MLP((3,)), work(0, chains=(chains(n_runs=10),)), "never"),
        (MLP((3,)), work(0, chains=(chains(Underdamped()),)), "never"),
        (MLP((3,)).double(), work(0, chains=(chains(),)), "never"),
        (MLP((3,), activation="leaky_relu"), work(0, chains=(chains(),)), "never"),
        (ResidualMLP((3,)), work(0, chains=(chains(),)), "never"),
        (torch.sin, work(0, chains=(chains(),)), "never"),
        (MLP((3,)), work(1, chains=(chains(),)), "always"),
    ],
    ids=[
        "cd",
        "one kernel",
        "ed",
        "few energies",
        "ed of another energy",
        "short",
        "kernel",
        "float64",
        "activation",
        "energy",
        "conditioned",
        "score matching",
    ],
)
def test_auto_takes_native_chains_silently_or_in_one_line(
    energy: Any, of: Work, mode: str, asked: list[list[str]]
) -> None:
    warnings: list[str] = []
    assert apply_compile_mode("auto", energy, of, 1, warnings.append) == mode
    native = "training steps and chains" if of.n_values else "chains"
    assert [line.startswith(f"compile=auto: {native} run in native code") for line in warnings] == (
        [True] if mode == "native" else []
    )
    assert len(asked) == (mode == "native")


@pytest.mark.parametrize("mode", ["auto", "never"])
def test_mode_does_not_depend_on_earlier_calls(mode: Any) -> None:
    """A loaded model samples long chains, then short ones."""
    energy = MLP((3,), width=4)
    energy.native = energy.compiled = object()
    assert apply_compile_mode(mode, energy, work(0, chains=(chains(n_runs=1),)), 1, print) == "never"
    assert energy.native is None
    assert energy.compiled is None


def test_auto_without_a_compiler_is_one_line(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the cache."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    warnings: list[str] = []
    of = work(0, chains=(chains(),))
    assert apply_compile_mode("auto", MLP((3,)), of, 1, warnings.append) == "never"
    assert warnings == ["compile=auto: no C++ compiler (no-such-compiler) is installed; chains stay in torch, slower"]
    assert asked == []


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


@pytest.mark.slow
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


def test_unavailable_mode_is_one_line_of_the_command(ebm: Ebm, tmp_path: Path, quick: None) -> None:
    ran = ebm("train", *FAST, "method=nce", "steps=2", "compile=always", "hydra.run.dir=run")
    assert ran.code == 0
    assert ran.out.count("compile=always: this method takes no derivative in x") == 1
    assert resolved_mode(tmp_path / "run") == "never"
    few = ["n_samples=20", "n_chains=10", "burn_in=2", "thin=1", "sampler=underdamped"]
    ran = ebm("sample", "checkpoint=run", *few, "compile=native")
    assert ran.code == 0
    assert ran.out.count("compile=native: ") == 1


CD = [*FAST, "method=cd", "method.k=2", "steps=6", "metrics=[chains]"]
ED = [*FAST, "method=ed", "steps=6", "metrics=[chains]"]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "constant"), [(CD, "NATIVE_AFTER"), (ED, "VALUES_AFTER")], ids=["cd", "ed"])
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_native_run_resumes_bit_for_bit_where_it_can(
    words: list[str], constant: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the code that `auto` chose when it began, although it would now choose other code."""
    no_pictures(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(compile_mode, constant, 1)
        whole = ebm("train", *words, "hydra.run.dir=whole")
        assert (whole.code, whole.err) == (0, "")
        assert whole.out.count("compile=auto: training steps and chains run in native code") == 1
        at_step(patched, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    shutil.copytree(tmp_path / "half", tmp_path / "elsewhere")
    ran = ebm("train", *words, "hydra.run.dir=half")
    assert (ran.code, ran.err) == (0, "")
    assert "compile=" not in ran.out
    assert resolved_mode(tmp_path / "half") == resolved_mode(tmp_path / "whole") == "native"
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []

    few = [word for word in TINY if word.startswith("eval.")] + ["metrics=[chains]"]
    assert ebm("evaluate", "checkpoint=whole", *few, "hydra.run.dir=again").code == 0
    found, again = (chain_numbers(tmp_path / name) for name in ("whole", "again"))
    assert found == again
    assert found

    monkeypatch.setattr(compile_mode, "attach_native_code", lambda *args, **keys: "it is gone")
    ran = ebm("train", *words, "hydra.run.dir=elsewhere")
    assert (ran.code, ran.err) == (0, "")
    line = "compile=native: it is gone; running eager; from here on the run differs in rounding"
    assert " ".join(ran.out.split()).count(line) == 1
    assert resolved_mode(tmp_path / "elsewhere") == "never"


@pytest.mark.parametrize(("precision", "what"), [("highest", "training steps and chains"), ("high", "chains")])
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_native_steps_have_full_precision(precision: str, what: str, ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of another precision, which are asked for, are torch's."""
    no_pictures(monkeypatch)
    monkeypatch.setattr(compile_mode, "NATIVE_AFTER", 1)
    ran = ebm("train", *CD, f"precision={precision}")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count(f"compile=auto: {what} run in native code") == 1
    ran = ebm("train", *CD, f"precision={precision}", "compile=native")
    assert ran.out.count("compile=native: chains alone, since training steps have precision=high") == (
        precision == "high"
    )


def chain_numbers(folder: Path) -> dict[str, Any]:
    results = json.loads((folder / "results.json").read_text())
    return {key: value for key, value in results.items() if key.startswith("sampler/") and "second" not in key}


def test_run_without_a_stored_mode_stays_in_torch(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    assert ebm("train", *CD, "hydra.run.dir=run").code == 0
    assert resolved_mode(tmp_path / "run") == "never"
    config = tmp_path / "run" / "config.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("compile:")]
    config.write_text("\n".join(kept))
    monkeypatch.setattr(compile_mode, "NATIVE_AFTER", 1)
    assert ebm("train", "checkpoint=run", "steps=7").code == 0
    assert resolved_mode(tmp_path / "run") == "never"


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
