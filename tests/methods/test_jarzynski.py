"""Weighted walkers: exact under a changing energy at any step size, with unweighted ones as the control."""

import copy
import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Gaussian
from ebm_cli.energies import Mixture, Quadratic
from ebm_cli.energies.given import Given
from ebm_cli.methods import CD
from ebm_cli.methods.jarzynski import LOST, Walkers, fresh, moved, reweighted
from ebm_cli.methods.resampling import effective_share, pooled
from ebm_cli.samplers import HMC, Kernel, Underdamped
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.tempering import Tempering
from tests.methods.toys import correlated, mlp
from tests.support import differences, seeded

N = 6000


def standard_normal() -> Gaussian:
    x = torch.randn(5000, 1, generator=seeded(3), dtype=torch.float64)
    return Gaussian((x - x.mean()) / x.std(correction=0))


def stiffened(kernel: Kernel, resamples: bool) -> Walkers:
    """Walkers of N(0, 1) after 200 steps, one for each a, while the energy a x²/2 stiffens from a = 1 to a = 4."""
    rng, energy = seeded(1), Quadratic((1,)).double()
    walkers = fresh(standard_normal(), N, rng)
    for i in range(1, 201):
        with torch.no_grad():
            energy.raw_precision.fill_(1 + 3 * i / 200)
        walkers, _ = moved(kernel, energy, reweighted(energy, walkers), 1, rng)
        if resamples:
            survivors = pooled(walkers.log_weight, rng).survivors()
            x, value = survivors.take(walkers.x, walkers.energy)
            walkers = Walkers(x, survivors.log_weight, value)
    return walkers


def variance(walkers: Walkers, log_weight: Tensor) -> float:
    return float((log_weight.softmax(0) * walkers.x[:, 0].square()).sum())


LANGEVIN = [Langevin(step_size=h) for h in (0.01, 0.1, 0.3)]


@pytest.mark.parametrize(
    "kernel", [*LANGEVIN, MALA(step_size=0.004)], ids=lambda k: f"{type(k).__name__} {k.step_size}"
)
def test_weights_undo_lag_and_step_size(kernel: Kernel) -> None:
    """log Z and the variance ¼ within five standard errors; without weights the chains lag, or are too wide."""
    walkers = stiffened(kernel, resamples=False)
    share = float(effective_share(walkers.log_weight))
    log_z = float(walkers.log_weight.logsumexp(0)) - math.log(N)
    assert abs(log_z - 0.5 * math.log(2 * math.pi / 4)) < 5 * math.sqrt((1 / share - 1) / N)
    assert abs(variance(walkers, walkers.log_weight) - 0.25) < 5 * 0.25 * math.sqrt(2 / (N * share))
    assert variance(walkers, torch.zeros(N)) > 0.25 + 3 * 0.25 * math.sqrt(2 / N)


def test_resampling_keeps_the_mean_weight() -> None:
    """The share of the weight that each walker had becomes its number of copies, and log Z does not change."""
    log_weight = torch.tensor([0.0, 0.0, math.log(6.0), -LOST], dtype=torch.float64)
    survivors = pooled(log_weight, seeded()).survivors(below=1.1)
    [kept] = survivors.take(torch.arange(4))
    assert kept.tolist() in ([0, 2, 2, 2], [1, 2, 2, 2])
    torch.testing.assert_close(survivors.log_weight.logsumexp(0), log_weight.logsumexp(0))
    even = torch.tensor([0.1, 0.0, 0.0, -0.1])
    survivors = pooled(even, seeded()).survivors()
    [kept] = survivors.take(torch.arange(4))
    assert kept.tolist() == [0, 1, 2, 3]
    assert torch.equal(survivors.log_weight, even)


def test_resampled_walkers_stay_exact() -> None:
    walkers = stiffened(LANGEVIN[2], resamples=True)
    log_z = float(walkers.log_weight.logsumexp(0)) - math.log(N)
    assert abs(log_z - 0.5 * math.log(2 * math.pi / 4)) < 5 * math.sqrt(4 / N)
    assert abs(variance(walkers, walkers.log_weight) - 0.25) < 5 * 0.25 * math.sqrt(4 / N)


# --- cd with weights --------------------------------------------------------------------------------------------------


def weighted(x: Tensor, sampler: Kernel, **keys: object) -> CD:
    keys = {"start": "persistent", "weights": "jarzynski", "buffer_size": 64, "restart": 0.0} | keys
    return CD(tuple(x.shape[1:]), sampler, Gaussian(x), k=2, **keys).to(x.dtype)  # type: ignore[arg-type]


def test_gradient_is_the_weighted_mean_of_the_model() -> None:
    """Two modes, of which the chains hold the wrong shares: the weights give the model's own, and the loss follows."""
    energy = Mixture((1,), means=[[-8.0], [8.0]], std=1.0, weights=[0.5, 0.5]).double()
    with torch.no_grad():
        energy.logits.copy_(torch.tensor([0.5, 0.5]).log())
    x = 8.0 * torch.sign(torch.randn(4000, 1, generator=seeded(), dtype=torch.float64) - 0.7)
    method = weighted(x, MALA(step_size=0.5), buffer_size=4000)
    with torch.no_grad():
        start = energy.sample(4000, seeded(5))
        method.buffer.copy_(start)
        method.log_weight.zero_()
        method.walker_energy.copy_(energy(start))
        energy.logits.copy_(torch.tensor([0.1, 0.9]).log())
    loss = method.loss(energy, x, seeded(1)).loss
    slope = torch.autograd.grad(loss, energy.logits)[0]
    # d/dlogits of −log Σ w exp(…) at far modes: weight − responsibility; the model's own mean is 0.
    share = float((x < 0).double().mean())
    expected = torch.tensor([0.1 - share, 0.9 - (1 - share)], dtype=torch.float64)
    torch.testing.assert_close(slope, expected, atol=5 * 0.5 / math.sqrt(4000), rtol=0)
    # Control: the same chains, all with the same weight.
    method.buffer.copy_(start)
    method.log_weight.zero_()
    method.walker_energy.copy_(energy(start).detach())
    unweighted = torch.autograd.grad(method.loss(energy, x, seeded(1)).loss, energy.logits)[0]
    assert abs(float(unweighted[0]) - float(expected[0])) > 0.2


@pytest.mark.parametrize("restart", [0.0, 0.5])
def test_witnesses_find_log_z(restart: float) -> None:
    """Neither restarts nor the length of a Langevin step bias them; the chains' own weights agree."""
    x = correlated(1000)
    energy = Quadratic((3,)).double()
    with torch.no_grad():
        energy.raw_precision.copy_(torch.linalg.inv(torch.cov(x.T)) * 1.3)
        energy.mean.copy_(x.mean(0))
    method = weighted(x, Langevin(step_size=0.05), witnesses=4000, restart=restart, buffer_size=1000)
    method.prepare(x, seeded())
    for i in range(5):
        out = method.loss(energy, x, seeded(i))
    assert out.evaluations.energy == 2 + 1 + 4
    assert out.evaluations.grad == (1 + 4) * 3
    truth = energy.log_z().detach()
    assert float(out.metrics["log_z"]) == pytest.approx(float(truth), abs=0.1)
    assert float(method.log_weight.logsumexp(0)) - math.log(1000) == pytest.approx(float(truth), abs=0.2)


def test_witnesses_are_weighed_for_the_energy_that_is_asked() -> None:
    """Before the first step, and for an energy that has moved since; one that is lost counts 0, and nothing changes."""
    x, energy = correlated(1000), Quadratic((3,)).double()
    with torch.no_grad():
        energy.raw_precision.copy_(torch.linalg.inv(torch.cov(x.T)) * 1.3)
        energy.mean.copy_(x.mean(0))
    method = weighted(x, Langevin(step_size=0.05), witnesses=4000, buffer_size=1000)
    method.prepare(x, seeded())
    assert method.witnesses is not None
    for constant in (0.0, 2.0):
        shifted = Given(lambda at, c=constant: energy(at) - c, (3,))
        before = copy.deepcopy(method.state_dict())
        found = method.learned_log_z(shifted)
        assert found is not None
        assert float(found) == pytest.approx(float(energy.log_z().detach()) + constant, abs=0.1)
        assert differences(before, method.state_dict()) == []
        method.loss(energy, x, seeded(1))
    method.witnesses.points[:2000] = torch.nan
    halved = method.learned_log_z(energy)
    assert halved is not None
    assert float(halved) == pytest.approx(float(energy.log_z().detach()) - math.log(2), abs=0.1)


def test_witnesses_at_another_temperature_have_no_log_z() -> None:
    """Their weights are those of exp(-f/T)."""
    x = correlated()[:64, :2]
    method = weighted(x, Langevin(step_size=0.01, temperature=0.5), witnesses=8)
    method.prepare(x, seeded())
    assert method.learned_log_z(mlp()) is None


def test_walker_that_diverges_loses_its_weight() -> None:
    x, energy = correlated()[:64, :2], mlp()
    method = weighted(x, Langevin(step_size=0.01))
    method.prepare(x, seeded())
    method.buffer[3] = torch.nan
    out = method.loss(energy, x, seeded(1))
    assert torch.isfinite(out.loss)
    assert float(out.metrics["dead_chains"]) == pytest.approx(1 / 64)
    assert torch.isfinite(method.buffer).all()
    assert float(method.log_weight.min()) > -100


def test_negatives_change_nothing_of_the_method() -> None:
    x, energy = correlated()[:64, :2], mlp()
    method = weighted(x, MALA(step_size=0.05), witnesses=8)
    method.prepare(x, seeded())
    before = copy.deepcopy(method.state_dict())
    assert torch.equal(method.negatives(energy, x, seeded(5)), method.negatives(energy, x, seeded(5)))
    assert differences(before, method.state_dict()) == []


@pytest.mark.parametrize("sampler", [Langevin(step_size=0.01), MALA(step_size=0.01), HMC(step_size=0.1)])
def test_step_waits_for_no_device(sampler: Kernel) -> None:
    """On torch's `meta` device an operation whose result the host needs raises an error."""
    x = torch.zeros(16, 2, device="meta")
    method = weighted(correlated()[:64, :2].float(), sampler, witnesses=8).to("meta")
    out = method.loss(mlp().float().to("meta"), x, torch.Generator())
    assert out.loss.device.type == "meta"


@pytest.mark.parametrize(
    ("keys", "sampler", "words"),
    [
        ({"start": "data"}, MALA(), "unless start=persistent"),
        ({"kl": 0.1}, MALA(), "kl=0"),
        ({}, Underdamped(), "choose sampler=langevin"),
        ({}, Tempering(), "hot replicas have no weights"),
        ({}, Langevin(noise_scale=0.5), "clamped step has no density"),
        ({"weights": "none", "witnesses": 4}, MALA(), "0 without weights=jarzynski"),
    ],
)
def test_weights_are_refused_where_they_do_not_exist(keys: dict[str, object], sampler: Kernel, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        weighted(correlated(), sampler, **keys)
