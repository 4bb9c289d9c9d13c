"""Native chains: the chains of the torch path, faster; and a sentence where they cannot be had."""

import copy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration import NativeChains, attach_native_chains, native_build
from ebm_cli.acceleration import native_chains as native_chains
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods.cd import CD
from ebm_cli.optim.ema import EMA
from ebm_cli.optim.flat import Flat
from ebm_cli.samplers import Info, Kernel, State, geometric, run, trace
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.support import seeded

KERNELS = [
    Langevin(0.05),
    Langevin(0.05, temperature=2.0, noise_scale=0.7, clamp_grad=0.5, clamp_sample=1.5),
    MALA(0.3, temperature=1.5),
    HMC(0.3, temperature=0.7, n_leapfrog=3),
]
SMOOTH = ("silu", "softplus", "tanh", "gelu")
N = 75
"""Chains: two blocks and a part of one, for every size of block."""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def mlp(*shape: int, seed: int = 0, **settings: object) -> MLP:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return MLP(shape or (3,), **{"width": 37, "depth": 3, **settings}).eval()  # type: ignore[arg-type]


def starts(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def native(energy: MLP, threads: int = 2) -> MLP:
    """The same energy, whose chains are native."""
    assert attach_native_chains(energy, threads) is None
    return energy


def in_torch(energy: MLP) -> MLP:
    """A copy whose chains are not native."""
    plain = copy.deepcopy(energy)
    plain.native = None
    return plain


def distance(a: Tensor, b: Tensor) -> float:
    """Relative to the largest number."""
    return float((a - b).abs().max() / b.abs().max())


def apart(a: tuple[State, Info], b: tuple[State, Info]) -> float:
    pairs = [(a[0].x, b[0].x), (a[1].accept, b[1].accept), (a[0].energy, b[0].energy), (a[0].grad, b[0].grad)]
    assert [p is None for p, _ in pairs] == [q is None for _, q in pairs]
    return max(distance(p, q) for p, q in pairs if p is not None and q is not None)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_the_chains_are_those_of_torch(kernel: Kernel, activation: str) -> None:
    energy, x = mlp(activation=activation), starts(N, 3)
    expected = run(kernel, energy, x, 10, seeded())
    native(energy)
    held = x.clone()
    assert apart(run(kernel, energy, x, 10, seeded()), expected) < 1e-5
    assert torch.equal(x, held)
    other = run(kernel, energy, x, 10, seeded(9))
    assert apart(other, expected) > 1e-2


@pytest.mark.parametrize(
    ("shape", "settings"), [((2,), {"depth": 1, "width": 5}), ((3, 4, 4), {"base": 0.0}), ((1,), {})]
)
def test_any_shape_of_network_and_point(shape: tuple[int, ...], settings: dict[str, object]) -> None:
    energy, x = mlp(*shape, **settings), starts(5, *shape)
    expected = run(KERNELS[2], energy, x, 10, seeded())
    assert apart(run(KERNELS[2], native(energy), x, 10, seeded()), expected) < 1e-5


@pytest.mark.parametrize("n", [5, 16, 50])
@pytest.mark.parametrize("kernel", [Langevin(0.01), MALA(0.3)], ids=lambda k: type(k).__name__)
def test_both_paths_draw_the_same_numbers(kernel: Kernel, n: int) -> None:
    """Also where a chunk is drawn at once, as it is for whole sixteens."""
    energy, x = mlp(), starts(n, 3)
    drawn, found = [], []
    for threads in (None, 1):
        energy.native = None if threads is None else NativeChains(threads)
        rng = seeded()
        found.append(run(kernel, energy, x, 7, rng))
        drawn.append(torch.rand(3, generator=rng))
    assert torch.equal(*drawn)
    assert apart(*found) < 1e-5


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=lambda k: type(k).__name__)
def test_threads_and_chunks_change_no_bit(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, x = mlp(), starts(500, 3)
    first, info = run(kernel, native(energy, 1), x, 10, seeded())
    for threads in (2, 3, 7):
        again, _ = run(kernel, native(energy, threads), x, 10, seeded())
        assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True) if a is not None)
    monkeypatch.setattr(native_chains, "NOISE", 3 * x.numel())
    again, again_info = run(kernel, energy, x, 10, seeded())
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True) if a is not None)
    assert distance(again_info.accept, info.accept) < 1e-6


def test_chunks_that_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two rooms by turns, the last of them not full: whole sixteens of numbers a step."""
    energy, x = native(mlp()), starts(16, 3)
    expected = run(Langevin(0.01), energy, x, 11, seeded())[0].x
    monkeypatch.setattr(native_chains, "NOISE", 3 * x.numel())
    assert torch.equal(run(Langevin(0.01), energy, x, 11, seeded())[0].x, expected)


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=lambda k: type(k).__name__)
def test_kept_positions(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, x = mlp(), starts(N, 3)
    seen: list[list[int]] = [[], []]
    expected, info = trace(kernel, energy, x, 12, 3, seeded(), seen[0].append)
    monkeypatch.setattr(native_chains, "NOISE", 5 * x.numel())
    draws, native_info = trace(kernel, native(energy), x, 12, 3, seeded(), seen[1].append)
    assert draws.shape == expected.shape == (4, N, 3)
    assert distance(draws, expected) < 1e-5
    assert distance(native_info.accept, info.accept) < 1e-5
    assert seen == [[3, 6, 9, 12]] * 2


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_schedules(kernel: Kernel) -> None:
    energy, x = mlp(), starts(N, 3)
    schedule = geometric(8, temperature=(4.0, 0.5), step_size=(kernel.step_size, kernel.step_size / 3))
    expected = run(kernel, energy, x, 10, seeded(), schedule)
    native(energy)
    assert apart(run(kernel, energy, x, 10, seeded(), schedule), expected) < 1e-5
    assert apart(run(kernel, energy, x, 10, seeded()), expected) > 1e-3


def test_weights_are_those_of_the_moment() -> None:
    energy, x = native(mlp()), starts(N, 3)
    ema = EMA([name for name, _ in energy.named_parameters()], Flat(list(energy.parameters())), 0.9)
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.mul_(1.1)

    def both() -> tuple[tuple[State, Info], tuple[State, Info]]:
        return run(MALA(0.1), energy, x, 10, seeded()), run(MALA(0.1), in_torch(energy), x, 10, seeded())

    live = both()
    with ema.applied():
        averaged = both()
    assert apart(*live) < 1e-5
    assert apart(*averaged) < 1e-5
    assert apart(live[0], averaged[0]) > 1e-2
    assert not [name for name in energy.state_dict() if not name.startswith("network.")]


@pytest.mark.parametrize("activation", SMOOTH)
def test_value_and_gradient_from_tiny_to_huge(activation: str) -> None:
    energy = native(mlp(1, activation=activation, depth=1, width=8, base=0.0))
    with torch.no_grad():
        first = energy.network[0]
        first.weight.copy_(torch.linspace(0.1, 1.0, 8).view(-1, 1))
        first.bias.zero_()
    x = torch.cat([sign * torch.logspace(-6, 2, 400) for sign in (-1, 1)]).view(-1, 1)
    state, _ = run(MALA(0.1), energy, x, 0, seeded())
    assert state.energy is not None
    assert state.grad is not None
    exact = value_and_grad(copy.deepcopy(energy).double(), x.double())
    with torch.no_grad():
        size = float(energy.network[-1].weight.abs().sum())
    assert float(((state.energy - exact[0]) / (size * (1 + x.abs().squeeze(1)))).abs().max()) < 1e-6
    assert float((state.grad - exact[1]).abs().max()) < 1e-6 * size


@pytest.mark.parametrize("kernel", [MALA(1e30), HMC(1e30, n_leapfrog=2)], ids=lambda k: type(k).__name__)
def test_a_proposal_that_is_not_finite_is_rejected(kernel: Kernel) -> None:
    energy, x = native(mlp()), starts(N, 3)
    state, info = run(kernel, energy, x, 3, seeded())
    assert torch.equal(state.x, x)
    assert torch.equal(info.accept, torch.zeros(N))


def test_a_chain_that_is_lost_stays_visible_and_alone() -> None:
    energy, x = native(mlp()), starts(N, 3)
    expected = run(Langevin(0.05), energy, x, 5, seeded())[0].x
    x[7] = torch.nan
    end = run(Langevin(0.05), energy, x, 5, seeded())[0].x
    assert bool(end[7].isnan().all())
    others = torch.arange(N) != 7
    assert torch.equal(end[others], expected[others])


@pytest.mark.parametrize(
    ("kernel", "energy", "x"),
    [
        (Metropolis(0.3), mlp(), starts(N, 3)),
        (MALA(0.3), mlp().double(), starts(N, 3).double()),
        (MALA(0.3), mlp(activation="leaky_relu"), starts(N, 3)),
        (MALA(0.3), Quadratic((3,)), starts(N, 3)),
    ],
    ids=["kernel", "dtype", "activation", "energy"],
)
def test_what_is_not_covered_runs_in_torch(kernel: Kernel, energy: Energy, x: Tensor) -> None:
    expected = run(kernel, energy, x, 5, seeded())[0].x
    kept = trace(kernel, energy, x, 4, 2, seeded())[0]
    assert attach_native_chains(energy, 1, [kernel]) is not None
    assert energy.native is None
    energy.native = NativeChains(1)
    assert torch.equal(run(kernel, energy, x, 5, seeded())[0].x, expected)
    assert torch.equal(trace(kernel, energy, x, 4, 2, seeded())[0], kept)


def test_a_hook_is_not_passed_by() -> None:
    energy, x = native(mlp()), starts(N, 3)
    without = run(MALA(0.3), energy, x, 5, seeded())
    energy.network[0].register_forward_hook(lambda module, args, out: 2 * out)
    expected = run(MALA(0.3), in_torch(energy), x, 5, seeded())
    assert torch.equal(run(MALA(0.3), energy, x, 5, seeded())[0].x, expected[0].x)
    assert apart(without, expected) > 1e-2


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of extensions."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    native_build.load_library.cache_clear()
    yield tmp_path
    native_build.load_library.cache_clear()


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "native chains cannot be had here, there is no C++ compiler (no-such-compiler); "),
        ("false", "native chains cannot be had here, their build failed ("),
    ],
)
def test_without_a_compiler_chains_stay_in_torch(
    compiler: str, reason: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    energy, x = mlp(), starts(N, 3)
    expected = run(MALA(0.3), energy, x, 5, seeded())[0].x
    why = attach_native_chains(energy, 1)
    assert why is not None
    assert why.startswith(reason)
    assert why.endswith("; chains run in torch")
    assert "\n" not in why
    assert energy.native is None
    assert torch.equal(run(MALA(0.3), energy, x, 5, seeded())[0].x, expected)
    # A build that failed leaves nothing that the next one would take for a library.
    assert not [path for path in fresh.rglob("*") if path.is_file()]


def test_without_ninja_chains_stay_in_torch(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("c++")
    assert compiler is not None
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.setattr(sys, "executable", str(fresh / "python"))
    why = attach_native_chains(mlp(), 1)
    assert why is not None
    assert "there is no ninja" in why


def test_a_compiler_without_openmp_will_do(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains have threads of their own then, and the same bits."""
    energy, x = native(mlp(), threads=2), starts(N, 3)
    expected = run(Langevin(0.01), energy, x, 10, seeded())[0].x
    native_build.load_library.cache_clear()
    compiler = fresh / "plain-c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) echo "no OpenMP" >&2; exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(fresh / "another"))
    assert attach_native_chains(energy, 2) is None
    assert native_build.load_library().ebm_pooled() == 0
    assert torch.equal(run(Langevin(0.01), energy, x, 10, seeded())[0].x, expected)


def test_a_library_that_is_there_needs_no_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    path = Path(native_build.load_library()._name)
    native_build.load_library.cache_clear()
    shutil.copytree(path.parent, fresh / path.parent.name)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(fresh))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert attach_native_chains(mlp(), 1) is None
    assert Path(native_build.load_library()._name).is_relative_to(fresh)


def test_the_name_of_a_library_says_what_it_was_made_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "chains.cpp"
    source.write_text("other")
    keys = {native_build._key()}
    for name, value in {"SOURCE": source, "FLAGS": ("-O2",), "_processor": lambda: "another"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(native_build, name, value)
            keys.add(native_build._key())
    assert len(keys) == 4


@pytest.mark.parametrize("kernel", [Langevin(0.05), MALA(0.1)], ids=lambda k: type(k).__name__)
def test_contrastive_divergence_takes_the_same_steps(kernel: Kernel) -> None:
    data, losses = starts(64, 3), []
    for energy in (mlp(), native(mlp())):
        method, rng = CD((3,), kernel, Gaussian(data), k=5, start="persistent", buffer_size=64), seeded()
        method.prepare(data, rng)
        optimizer = torch.optim.SGD(energy.parameters(), 0.01)
        for _ in range(4):
            optimizer.zero_grad()
            out = method.loss(energy, data, rng)
            out.loss.backward()
            optimizer.step()
        losses.append(torch.stack([out.loss.detach(), out.metrics["acceptance"]]))
    assert distance(*losses) < 1e-5


def test_threads_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        replace(NativeChains(1), threads=0)
