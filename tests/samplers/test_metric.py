"""Metrics: measured in burn-in, exact in every kernel that takes one, absent by default."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.methods.cd import CD
from ebm_cli.samplers import Metric, Preconditioned, adapt, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.mclmc import MCLMC
from ebm_cli.samplers.metric import Moments, why_not_measured
from ebm_cli.samplers.nuts import NUTS
from ebm_cli.selftest.invariance import harmonic, invariance
from tests.samplers.targets import TARGETS, Target, name_of
from tests.support import normal, seeded

FACTOR = torch.tensor(((1.5, 0.0), (0.9, 0.4)), dtype=torch.float64)
METRICS = [Metric(FACTOR), Metric(torch.tensor((1.6, 0.5), dtype=torch.float64))]
KERNELS = [MALA(0.3), HMC(0.5, n_leapfrog=3)]
SCALES = torch.logspace(-1, 1, 6, dtype=torch.float64)


def rotated() -> Tensor:
    """A factor A of the covariance of x = A z: scales from 0.1 to 10 along axes that are no coordinates."""
    axes, _ = torch.linalg.qr(normal(6, 6, seed=3))
    return axes * SCALES


@pytest.mark.parametrize("metric", METRICS, ids=["full", "diagonal"])
def test_both_maps_of_a_metric_are_adjoint(metric: Metric) -> None:
    v, g = normal(5, 2), normal(5, 2, seed=2)
    torch.testing.assert_close((metric.to_target(v) * g).sum(1), (v * metric.to_unit(g)).sum(1))


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("metric", METRICS, ids=["full", "diagonal"])
@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_kernels_with_a_metric_keep_their_target(kernel: Preconditioned, metric: Metric, target: Target) -> None:
    shaped = replace(kernel, metric=metric)
    assert invariance(shaped, target.energy, target.sample(5000), target.deviation, seeded())[0].holds


@pytest.mark.parametrize("kernel", [*KERNELS, MCLMC(0.5), NUTS(0.5)], ids=name_of)
def test_a_metric_is_a_change_of_variables(kernel: Preconditioned, monkeypatch: pytest.MonkeyPatch) -> None:
    """x = A z with the metric A is the chain of z, step by step; with a transposed map it is not."""
    factor, z = rotated(), normal(20, 6)
    precision = torch.linalg.inv(factor)
    shaped = replace(kernel, metric=Metric(factor))
    of_x, _ = run(shaped, lambda x: harmonic(x @ precision.T), z @ factor.T, 20, seeded())
    of_z, _ = run(kernel, harmonic, z, 20, seeded())
    torch.testing.assert_close(of_x.x, of_z.x @ factor.T, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(Metric, "to_unit", lambda self, g: g @ self.factor.T)
    wrong, _ = run(shaped, lambda x: harmonic(x @ precision.T), z @ factor.T, 20, seeded())
    assert not torch.allclose(wrong.x, of_z.x @ factor.T, rtol=0.1)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_without_burn_in_there_is_no_metric(kernel: Preconditioned) -> None:
    plain, _ = run(kernel, harmonic, normal(5, 2), 10, seeded())
    asking, _ = run(replace(kernel, metric="full"), harmonic, normal(5, 2), 10, seeded())
    assert torch.equal(plain.x, asking.x)


@pytest.mark.parametrize(("kind", "factor"), [("diagonal", torch.diag(SCALES)), ("full", rotated())])
def test_burn_in_finds_scales_of_a_hundred_to_one(kind: str, factor: Tensor) -> None:
    """From a start far too narrow the step size ends at that of a round Gaussian, and the scales at the target's."""
    precision = torch.linalg.inv(factor)
    shaped = MALA(0.01, metric=kind)
    adapted, _ = adapt(shaped, lambda x: harmonic(x @ precision.T), normal(100, 6), 600, seeded())
    metric = adapted.metric
    assert isinstance(metric, Metric)
    found = metric.factor.diag() if kind == "diagonal" else metric.factor
    white = precision @ found
    eigenvalues = torch.linalg.eigvalsh(white @ white.T)
    assert float(eigenvalues.min()) > 0.5
    assert float(eigenvalues.max()) < 2
    ideal, _ = adapt(MALA(0.01), harmonic, normal(100, 6), 200, seeded())
    assert adapted.step_size == pytest.approx(ideal.step_size, rel=0.4)
    plain, _ = adapt(MALA(0.01), lambda x: harmonic(x @ precision.T), normal(100, 6), 200, seeded())
    assert plain.step_size < 0.05 * ideal.step_size


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_moments_of_batches_are_those_of_all_draws(kind: str) -> None:
    x = normal(60, 3) @ normal(3, 3, seed=2) + 100
    moments = Moments(kind)
    for part in x.split((7, 50, 3)):
        moments.add(part)
    cov, d, n = torch.cov(x.T), 3, 60
    variance = (n * cov.diagonal() + 5 * 1e-3) / (n + 5)
    expected = variance.diag() if kind == "diagonal" else cov + (d / (n + d)) ** 2 * (variance.diag() - cov)
    metric = moments.metric()
    assert metric is not None
    factor = metric.factor.diag() if kind == "diagonal" else metric.factor
    torch.testing.assert_close(factor @ factor.T, expected)


@pytest.mark.parametrize("x", [normal(1, 3), torch.full((4, 3), math.nan)], ids=["one", "nan"])
def test_too_few_or_broken_draws_give_no_metric(x: Tensor) -> None:
    moments = Moments("full")
    moments.add(x)
    assert moments.metric() is None


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of none, diagonal, full, got 'dense'"):
        MALA(metric="dense")


@pytest.mark.parametrize("metric", METRICS, ids=["full", "diagonal"])
@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_a_step_with_a_metric_stays_on_its_device(kernel: Preconditioned, metric: Metric) -> None:
    """On torch's meta device, which has no numbers: a step that read one, or mixed devices, would raise."""
    x = torch.empty(4, 2, device="meta", dtype=torch.float64)
    shaped = replace(kernel, metric=Metric(metric.factor.to("meta")))
    state, info = shaped.step(harmonic, shaped.init(harmonic, x, seeded()), seeded())
    assert state.x.device == info.accept.device == x.device


def test_training_refuses_a_metric_that_nothing_measures() -> None:
    with pytest.raises(ValueError, match=r"^sampler\.metric must be none with cd and pcd"):
        CD((2,), MALA(metric="full"), Gaussian(normal(50, 2)))


def test_a_short_burn_in_measures_no_metric() -> None:
    assert why_not_measured(MALA(metric="full"), 79) == (
        "metric is measured in burn-in, which must be >= 80, got 79; 1000 are usual"
    )
    assert why_not_measured(MALA(metric="full"), 80) is None
    assert why_not_measured(MALA(), 0) is None
