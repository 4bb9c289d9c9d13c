"""Native ladders of replicas are torch's, up to rounding: positions, energies, exchanges, round trips and state."""

import shutil
from dataclasses import replace
from math import inf

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration import attach_native_code
from ebm_cli.acceleration.native_calls import uncovered
from ebm_cli.energies import MLP
from ebm_cli.samplers import Info, State, geometric, run, trace
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.tempering import Tempering
from tests.support import seeded

KERNELS = [
    Tempering(0.3, 1.5, kernel=MALA(), n_replicas=4, hottest=8.0),
    Tempering(0.3, kernel=MALA(), ladder=(1.0, 0.7, 0.2), n_moves=3),
    Tempering(0.3, 0.7, kernel=HMC(n_leapfrog=3), n_replicas=2, hottest=5.0, n_moves=2),
    Tempering(0.3, kernel=HMC(n_leapfrog=3, jitter=0.0), n_replicas=5, hottest=30.0),
]
NAMES = ["mala", "moves", "jittered hmc", "hmc"]
N = 75
"""Number of chains: two blocks and a part of one, for every size of a block."""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def both() -> tuple[MLP, MLP]:
    """An energy with torch's chains, and the same with native ones."""
    energies = []
    for _ in range(2):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            energies.append(MLP((3,), width=37, depth=2).eval())
    assert attach_native_code(energies[1], 2) is None
    return energies[0], energies[1]


def starts() -> Tensor:
    return torch.randn(N, 3, generator=seeded(1))


def distance(a: Tensor | None, b: Tensor | None) -> float:
    """The largest difference, relative to the largest number; infinite where only one of them is there."""
    if a is None or b is None:
        return 0.0 if a is b else inf
    assert a.shape == b.shape
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-9))


def apart(a: tuple[State, Info], b: tuple[State, Info]) -> float:
    assert a[0].aux.keys() == b[0].aux.keys()
    assert all(a[0].aux[key].dtype == b[0].aux[key].dtype for key in b[0].aux)
    pairs = [*zip(a[0][:3], b[0][:3], strict=True), *zip(a[1], b[1], strict=True)]
    return max(distance(p, q) for p, q in [*pairs, *((a[0].aux[key], b[0].aux[key]) for key in b[0].aux)])


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_ladders_are_torchs(kernel: Tempering) -> None:
    energy, native = both()
    expected = run(kernel, energy, starts(), 12, seeded())
    found = run(kernel, native, starts(), 12, seeded())
    assert apart(found, expected) < 1e-5
    assert expected[1].round_trips is not None
    assert float(expected[1].round_trips.sum()) > 0
    assert apart(run(kernel, native, starts(), 12, seeded(9)), expected) > 1e-2


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_ladders_go_on_from_their_state_in_chunks(kernel: Tempering) -> None:
    energy, native = both()
    native.native = replace(native.native, chunk=5 * len(kernel.betas) * kernel.n_moves * N * 3)
    ends = []
    for of in (energy, native):
        rng = seeded()
        state, _ = run(kernel, of, starts(), 7, rng)
        draws, info = trace(kernel, of, state, 12, 3, rng)
        ends.append((draws, *info, torch.rand(3, generator=rng)))
    assert max(distance(p, q) for p, q in zip(*reversed(ends), strict=True)) < 1e-5
    assert torch.equal(ends[0][-1], ends[1][-1])


def test_scheduled_ladders_are_torchs() -> None:
    energy, native = both()
    schedule = geometric(8, temperature=(4.0, 0.5))
    expected = run(KERNELS[0], energy, starts(), 10, seeded(), schedule)
    assert apart(run(KERNELS[0], native, starts(), 10, seeded(), schedule), expected) < 1e-5


def test_threads_change_no_bit_of_a_ladder() -> None:
    _, native = both()
    found = []
    for threads in (1, 3):
        native.native = replace(native.native, threads=threads)
        found.append(run(KERNELS[0], native, starts(), 10, seeded()))
    assert apart(*found) == 0


def test_ladder_over_a_kernel_without_a_test_stays_in_torch() -> None:
    kernel = Tempering(0.05, kernel=Langevin(), n_replicas=3)
    assert uncovered(kernel) == "native replicas need sampler.kernel=mala or hmc"
    energy, native = both()
    ends = [run(kernel, of, starts(), 5, seeded())[0].x for of in (energy, native)]
    assert torch.equal(*ends)
