"""Parallel tempering: chains from one mode reach every mode's own mass, replicas their own temperature."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import (
    HMC,
    MALA,
    NUTS,
    Kernel,
    Langevin,
    Metropolis,
    Tempering,
    Underdamped,
    posterior,
    run,
    warm_up,
)
from ebm_cli.samplers import tempering as module
from ebm_cli.samplers.replicas import Replicas
from ebm_cli.samplers.tempering import exchange_rates
from tests.samplers.targets import name_of
from tests.support import harmonic, is_mean, normal, seeded

MASS, PLACE = 0.8, 4.0
KERNEL = Tempering(0.5, kernel=MALA(), n_replicas=4, hottest=8.0, n_moves=1)


def two_modes(x: Tensor) -> Tensor:
    """Energy of 0.2 N(−4, 1) + 0.8 N(4, 1): a barrier of 8 nats."""
    apart = 2 * PLACE * x[:, 0] + math.log(MASS / (1 - MASS))
    return 0.5 * (x[:, 0] + PLACE).square() - torch.nn.functional.softplus(apart) - math.log(1 - MASS)


def from_the_light_mode(kernel: Kernel, n_chains: int = 500, n_steps: int = 120) -> Tensor:
    """Ends of chains that start at −4 [n_chains]."""
    start = torch.full((n_chains, 1), -PLACE, dtype=torch.float64)
    return run(kernel, two_modes, start, n_steps, seeded())[0].x[:, 0]


@pytest.mark.parametrize(
    "kernel",
    [MALA(0.5), HMC(0.6, n_leapfrog=2), Metropolis(1.5), Underdamped(0.5)],
    ids=name_of,
)
def test_chains_from_one_mode_reach_both_masses(kernel: Kernel) -> None:
    x = from_the_light_mode(replace(KERNEL, step_size=kernel.step_size, kernel=kernel))
    assert is_mean((x > 0).double(), MASS)
    assert is_mean(x.square(), 1 + PLACE**2)


def test_a_chain_counts_the_gradients_of_all_its_replicas() -> None:
    kernel = Tempering(0.5, kernel=NUTS(max_depth=3), n_replicas=4, n_moves=2)
    gradients = run(kernel, harmonic, normal(5, 2), 10, seeded())[1].gradients
    assert gradients is not None
    assert gradients.shape == (5,)
    assert bool(((gradients >= 4 * 2) & (gradients <= 4 * 2 * 7)).all())


def test_control_without_exchanges_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "exchange_rates", lambda energy, betas: torch.zeros_like(energy[1:]))
    assert float((from_the_light_mode(KERNEL) > 0).double().mean()) < 0.1


def test_control_transposed_exchanges_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp((β_i − β_j)(E(x_j) − E(x_i))) heats the cold replica."""
    monkeypatch.setattr(module, "exchange_rates", lambda energy, betas: exchange_rates(-energy, betas))
    x = from_the_light_mode(KERNEL)
    assert not is_mean((x > 0).double(), MASS)
    assert not is_mean(x.square(), 1 + PLACE**2)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_each_replica_has_its_own_temperature(temperature: float) -> None:
    kernel = replace(KERNEL, temperature=temperature)
    state, _ = run(kernel, harmonic, normal(1000, 2), 60, seeded())
    for beta, x in zip(kernel.betas, state.aux["x"], strict=True):
        assert is_mean(x.square(), temperature / beta)


def test_burn_in_spaces_the_ladder_to_equal_exchange_rates() -> None:
    crowded = replace(KERNEL, ladder=(1.0, 0.9, 0.8, 0.05))
    start = normal(200, 3)
    kernel, state = warm_up(crowded, harmonic, start, 200, seeded())
    rates = run(kernel, harmonic, state, 60, seeded(1))[1].swaps
    before = run(crowded, harmonic, start, 60, seeded(1))[1].swaps
    assert rates is not None
    assert before is not None
    assert float(rates.mean(0).max() - rates.mean(0).min()) < 0.05
    assert float(before.mean(0).max() - before.mean(0).min()) > 0.5
    assert (kernel.betas[0], kernel.betas[-1]) == (1.0, 0.05)
    assert warm_up(replace(crowded, tune=False), harmonic, start, 50, seeded())[0].betas == crowded.betas


def test_a_flat_energy_lets_every_position_travel() -> None:
    """All exchanges are accepted: each of R positions makes its round trip in R transitions."""
    kernel = replace(KERNEL, kernel=Metropolis(), n_replicas=6)
    state, _ = run(kernel, lambda x: 0 * x[:, 0], normal(5, 2), 12, seeded())
    info = run(kernel, lambda x: 0 * x[:, 0], state, 24, seeded())[1]
    assert info.swaps is not None
    assert info.round_trips is not None
    assert torch.equal(info.swaps, torch.ones(5, 5, dtype=torch.float64))
    assert torch.equal(info.round_trips, torch.ones(5, dtype=torch.float64))


def test_chains_go_on_from_their_state_bit_for_bit() -> None:
    start, rng = normal(6, 2), seeded()
    whole = run(KERNEL, harmonic, start, 15, seeded())[0]
    half = run(KERNEL, harmonic, start, 10, rng)[0]
    again = run(KERNEL, harmonic, half, 5, rng)[0]
    assert torch.equal(whole.x, again.x)
    assert whole.aux.keys() == again.aux.keys()
    assert all(torch.equal(whole.aux[name], again.aux[name]) for name in whole.aux)


def test_a_chain_that_never_moves_keeps_its_position_bit_for_bit() -> None:
    kernel = replace(KERNEL, step_size=1e9)
    start = normal(50, 3).float()
    state, info = run(kernel, harmonic, start, 5, seeded())
    assert float(info.accept.max()) == 0
    assert torch.equal(state.aux["x"], start.expand(4, 50, 3))


def test_replicas_have_the_slope_of_their_energy() -> None:
    x, betas = normal(5, 1), torch.tensor((1.0, 0.3), dtype=torch.float64)
    z = x.repeat(2, 1)
    value, grad = value_and_grad(Replicas(two_modes, betas, x), z)

    def written(z: Tensor) -> Tensor:
        beta = betas.repeat_interleave(5)
        return beta * two_modes(z / beta.sqrt()[:, None])

    expected, slope = value_and_grad(written, z)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, slope)


def test_each_chain_may_have_a_distribution_of_its_own() -> None:
    """The posterior of N(0, 1) given y with noise of sd 1 is N(y/2, 1/2)."""
    observed = torch.tensor((-4.0, 4.0), dtype=torch.float64).repeat(500)[:, None]
    energy = posterior(harmonic, observed, torch.ones(1, dtype=torch.float64))
    x = run(KERNEL, energy, torch.zeros_like(observed), 60, seeded())[0].x
    assert is_mean(x[::2], -2.0)
    assert is_mean(x[1::2], 2.0)
    assert is_mean((x - observed / 2).square(), 0.5)


def test_exchanges_obey_their_formula() -> None:
    energy = torch.tensor(((3.0, 1.0, math.inf, 1.0, math.inf), (1.0, 3.0, 1.0, math.inf, math.inf)))
    found = exchange_rates(energy, torch.tensor((1.0, 0.5)))
    assert found.tolist() == [[1.0, pytest.approx(math.exp(-1.0)), 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("kernel", [MALA(), HMC(), Metropolis(), Langevin(), Underdamped()], ids=name_of)
def test_a_step_runs_where_no_number_can_be_read(kernel: Kernel) -> None:
    tempered = Tempering(kernel.step_size, kernel=kernel)
    x = torch.zeros(5, 3, device="meta")
    state, info = run(tempered, harmonic, x, 2, seeded())
    assert {t.device.type for t in (state.x, info.accept, *state.aux.values())} == {"meta"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_replicas": 1}, "^n_replicas must be >= 2, got 1$"),
        ({"hottest": 1.0}, r"^hottest must be > 1 and finite, got 1\.0$"),
        ({"n_moves": 0}, "^n_moves must be >= 1, got 0$"),
        ({"ladder": (1.0, 0.5, 0.5)}, "^ladder must fall from 1 and stay > 0"),
        ({"ladder": (0.9, 0.5)}, "^ladder must fall from 1 and stay > 0"),
        ({"kernel": MALA(metric="full")}, "^kernel.metric must be none"),
        ({"kernel": KERNEL}, "^kernel must be a sampler of one temperature, got Tempering$"),
    ],
)
def test_numbers_out_of_range_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(KERNEL, **keys)  # type: ignore[arg-type]
