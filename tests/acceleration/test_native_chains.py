"""Native chains are torch's chains, up to rounding; whatever chains.cpp does not cover runs in torch."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration import NativeChains, attach_native_code
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
from tests.acceleration.networks import mlp
from tests.support import seeded

KERNELS = [
    Langevin(0.05),
    Langevin(0.05, temperature=2.0, noise_scale=0.7, clamp_grad=0.5, clamp_sample=1.5),
    MALA(0.3, temperature=1.5),
    HMC(0.3, temperature=0.7, n_leapfrog=3),
    HMC(0.3, temperature=0.7, n_leapfrog=3, jitter=0.0),
]
SMOOTH = ("silu", "softplus", "tanh", "gelu")
N = 75
"""Number of chains: two blocks and a part of one, for every size of a block."""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def starts(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def native(energy: MLP, threads: int = 2) -> MLP:
    """The same energy, with native chains."""
    assert attach_native_code(energy, threads) is None
    return energy


def draw_in_chunks(energy: MLP, numbers: int) -> None:
    """Limit the normal numbers that its native chains draw at a time."""
    energy.native = replace(energy.native, chunk=numbers)


def in_torch(energy: MLP) -> MLP:
    """A copy with torch's chains."""
    plain = copy.deepcopy(energy)
    plain.native = None
    return plain


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((a - b).abs().max() / b.abs().max())


def apart(a: tuple[State, Info], b: tuple[State, Info]) -> float:
    pairs = [(a[0].x, b[0].x), (a[1].accept, b[1].accept), (a[0].energy, b[0].energy), (a[0].grad, b[0].grad)]
    assert [p is None for p, _ in pairs] == [q is None for _, q in pairs]
    return max(distance(p, q) for p, q in pairs if p is not None and q is not None)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_chains_are_torchs(kernel: Kernel, activation: str) -> None:
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
def test_chains_of_any_network_and_point_are_torchs(shape: tuple[int, ...], settings: dict[str, object]) -> None:
    energy, x = mlp(*shape, **settings), starts(5, *shape)
    expected = run(KERNELS[2], energy, x, 10, seeded())
    assert apart(run(KERNELS[2], native(energy), x, 10, seeded()), expected) < 1e-5


@pytest.mark.parametrize("n", [5, 16, 50])
@pytest.mark.parametrize("kernel", [Langevin(0.01), MALA(0.3)], ids=lambda k: type(k).__name__)
def test_chains_draw_torchs_random_numbers(kernel: Kernel, n: int) -> None:
    """Also where a chunk is drawn at once: for steps of a multiple of 16 numbers."""
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
def test_threads_and_chunks_change_no_bit(kernel: Kernel) -> None:
    energy, x = mlp(), starts(500, 3)
    first, info = run(kernel, native(energy, 1), x, 10, seeded())
    for threads in (2, 3, 7):
        again, _ = run(kernel, native(energy, threads), x, 10, seeded())
        assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True) if a is not None)
    draw_in_chunks(energy, 3 * x.numel())
    again, again_info = run(kernel, energy, x, 10, seeded())
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True) if a is not None)
    assert distance(again_info.accept, info.accept) < 1e-6


def test_chunks_drawn_at_once_change_no_bit() -> None:
    """In two buffers by turns, the last chunk shorter: a multiple of 16 numbers a step."""
    energy, x = native(mlp()), starts(16, 3)
    expected = run(Langevin(0.01), energy, x, 11, seeded())[0].x
    draw_in_chunks(energy, 3 * x.numel())
    assert torch.equal(run(Langevin(0.01), energy, x, 11, seeded())[0].x, expected)


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=lambda k: type(k).__name__)
def test_trace_is_torchs(kernel: Kernel) -> None:
    energy, x = mlp(), starts(N, 3)
    seen: list[list[int]] = [[], []]
    expected, info = trace(kernel, energy, x, 12, 3, seeded(), seen[0].append)
    draw_in_chunks(native(energy), 5 * x.numel())
    draws, native_info = trace(kernel, energy, x, 12, 3, seeded(), seen[1].append)
    assert draws.shape == expected.shape == (4, N, 3)
    assert distance(draws, expected) < 1e-5
    assert distance(native_info.accept, info.accept) < 1e-5
    assert seen == [[3, 6, 9, 12]] * 2


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_scheduled_chains_are_torchs(kernel: Kernel) -> None:
    energy, x = mlp(), starts(N, 3)
    schedule = geometric(8, temperature=(4.0, 0.5), step_size=(kernel.step_size, kernel.step_size / 3))
    expected = run(kernel, energy, x, 10, seeded(), schedule)
    native(energy)
    assert apart(run(kernel, energy, x, 10, seeded(), schedule), expected) < 1e-5
    assert apart(run(kernel, energy, x, 10, seeded()), expected) > 1e-3


def test_chains_read_the_weights_at_their_start() -> None:
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
def test_energy_and_gradient_are_right_from_1e_6_to_1e2(activation: str) -> None:
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
def test_non_finite_proposal_is_rejected(kernel: Kernel) -> None:
    energy, x = native(mlp()), starts(N, 3)
    state, info = run(kernel, energy, x, 3, seeded())
    assert torch.equal(state.x, x)
    assert torch.equal(info.accept, torch.zeros(N))


def test_diverged_chain_stays_nan_and_changes_no_other() -> None:
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
def test_uncovered_chains_run_in_torch(kernel: Kernel, energy: Energy, x: Tensor) -> None:
    expected = run(kernel, energy, x, 5, seeded())[0].x
    kept = trace(kernel, energy, x, 4, 2, seeded())[0]
    assert attach_native_code(energy, 1, [kernel]) is not None
    assert energy.native is None
    energy.native = NativeChains(1)
    assert torch.equal(run(kernel, energy, x, 5, seeded())[0].x, expected)
    assert torch.equal(trace(kernel, energy, x, 4, 2, seeded())[0], kept)


def test_hooked_layer_runs_in_torch() -> None:
    energy, x = native(mlp()), starts(N, 3)
    without = run(MALA(0.3), energy, x, 5, seeded())
    energy.network[0].register_forward_hook(lambda module, args, out: 2 * out)
    expected = run(MALA(0.3), in_torch(energy), x, 5, seeded())
    assert torch.equal(run(MALA(0.3), energy, x, 5, seeded())[0].x, expected[0].x)
    assert apart(without, expected) > 1e-2


@pytest.mark.parametrize("kernel", [Langevin(0.05), MALA(0.1)], ids=lambda k: type(k).__name__)
def test_contrastive_divergence_takes_torchs_steps(kernel: Kernel) -> None:
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
        accepted = [] if kernel.target_accept is None else [out.metrics["acceptance"]]
        losses.append(torch.stack([out.loss.detach(), *accepted]))
    assert distance(*losses) < 1e-5
