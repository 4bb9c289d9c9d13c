"""Chains in pieces: the same draws as in one go, bit for bit, also from a state that was written and read."""

import io

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration.native_build import LibraryUnavailable, load_library
from ebm_cli.acceleration.native_chains import NativeChains
from ebm_cli.densities import Gaussian
from ebm_cli.energies import MLP
from ebm_cli.samplers import HMC, MALA, MCLMC, NUTS, Kernel, Langevin, Metric, Metropolis, Tempering, Underdamped, trace
from ebm_cli.samplers.independence import trace_with_jumps
from ebm_cli.samplers.pieces import Pieces, settings, with_settings
from tests.support import normal, seeded

KERNELS: list[Kernel] = [
    Langevin(0.02),
    MALA(0.1),
    MALA(0.1, metric=Metric(torch.tensor([0.5, 2.0], dtype=torch.float64))),
    HMC(0.2, n_leapfrog=3),
    NUTS(0.2, max_depth=3),
    Metropolis(0.3),
    Underdamped(0.1),
    Underdamped(0.1, test_every=3),
    MCLMC(0.1, length=0.7),
    Tempering(0.1, n_replicas=3, hottest=5.0),
    Tempering(0.1, kernel=Underdamped(0.1), n_replicas=3, hottest=5.0),
]


def energy(x: Tensor) -> Tensor:
    return (x.square().sum(1) - 1).square()


def stored(pieces: Pieces) -> dict[str, object]:
    """The state, written and read."""
    file = io.BytesIO()
    torch.save(pieces.state_dict(), file)
    file.seek(0)
    found: dict[str, object] = torch.load(file, weights_only=True)
    return found


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_pieces_are_the_draws_of_one_trace(kernel: Kernel) -> None:
    whole, info = trace(kernel, energy, normal(5, 2), 12, 2, seeded())
    first = Pieces(kernel, energy, normal(5, 2), 2, seeded())
    parts = [first.advance(1), first.advance(2)]
    second = Pieces(type(kernel)(0.7), energy, normal(5, 2), 2, seeded(9))
    if isinstance(kernel, Tempering):
        second.kernel = Tempering(0.7, kernel=type(kernel.kernel)(0.7), n_replicas=3, hottest=9.0)
    second.load_state_dict(stored(first))
    parts.append(second.advance(3))
    assert torch.equal(torch.cat(parts), whole)
    assert second.total is not None
    assert torch.allclose(second.total.over(12).accept, info.accept)


def test_pieces_with_jumps_are_the_draws_of_one_trace() -> None:
    density = Gaussian(normal(50, 2, seed=5))
    whole, _, jumps = trace_with_jumps(MALA(0.1), energy, density, normal(5, 2), 8, 2, seeded())
    pieces = Pieces(MALA(0.1), energy, normal(5, 2), 2, seeded(), density)
    parts = [pieces.advance(1)]
    again = Pieces(MALA(0.5), energy, normal(5, 2), 2, seeded(9), density)
    again.load_state_dict(stored(pieces))
    assert torch.equal(torch.cat([*parts, again.advance(3)]), whole)
    assert torch.allclose(again.jumps / 4, jumps)


@pytest.fixture
def network() -> MLP:
    """A network whose chains run in native code."""
    try:
        load_library()
    except LibraryUnavailable as why:
        pytest.skip(str(why))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = MLP((2,), width=8)
    found.native = NativeChains(1)
    return found


@pytest.mark.parametrize(
    "kernel", [Langevin(0.02), MALA(0.1), HMC(0.2), Tempering(0.1)], ids=lambda k: type(k).__name__
)
def test_native_pieces_are_the_draws_of_one_trace(network: MLP, kernel: Kernel) -> None:
    x = normal(7, 2).float()
    whole, _ = trace(kernel, network, x, 12, 2, seeded())
    pieces = Pieces(kernel, network, x, 2, seeded())
    parts = [pieces.advance(2)]
    again = Pieces(kernel, network, x, 2, seeded(9))
    again.load_state_dict(stored(pieces))
    assert torch.equal(torch.cat([*parts, again.advance(4)]), whole)


def test_state_without_the_velocity_gives_other_draws() -> None:
    """Negative control: from the positions alone, chains with momentum are not continued."""
    pieces = Pieces(Underdamped(0.1), energy, normal(5, 2), 2, seeded())
    before = pieces.advance(2)
    rng = seeded()
    rng.set_state(pieces.rng.get_state())
    assert not torch.equal(Pieces(Underdamped(0.1), energy, before[-1], 2, rng).advance(2), pieces.advance(2))


def test_settings_hold_what_burn_in_has_found() -> None:
    kernel = Tempering(0.3, kernel=HMC(0.2, n_leapfrog=4), ladder=(1.0, 0.4, 0.1), n_replicas=3)
    found = with_settings(Tempering(0.1, kernel=HMC(0.9)), settings(kernel))
    assert found == kernel
