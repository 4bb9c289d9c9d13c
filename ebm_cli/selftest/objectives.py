"""Known values of the objectives on a Gaussian, in float64 on the CPU: a wrong sign or factor in a method shows here.

The data are N(m, V) in the plane, and the energy is a Gaussian with the precision s·V⁻¹: the truth for s = 1. The rows
have the mean m and the covariance V exactly, so that a loss which is quadratic in the rows has no sampling error of
theirs, and what a method draws itself is averaged over its calls. With D = 2:

    sm, ssm     (½ s² − s) tr V⁻¹, which is −½ tr V⁻¹ at the truth (−D/2 for N(0, I)); in whitened coordinates
                (½ s² − s) D
    dsm         ½ Σ_i σ² p_i² v_i + (σ² p_i − 1)², which is ½ Σ_i v_i/(v_i + σ²) at the blurred truth p_i = 1/(v_i + σ²)
    nce, fce    log(1 + ν) + ν log(1 + 1/ν) where the noise is the data (2 log 2 for ν = 1), and elsewhere the logistic
                loss of p/(p + ν q); the flow of fce has the opposite loss
    bridges     2 log 2 where noise and waymarks are the data; a wrong energy adds to its first bridge alone
    cd          gradient 0 at the truth with a sampler that has a correction; with unadjusted Langevin chains, whose
                moments are known, the loss and its gradient at a wrong precision and mean; log Z from weighted walkers
    mle         the mean of −log p of the rows, with log Z in closed form and by the grid
    ed, cnce    `perturbed_rows`
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ebm_cli.densities import Density
from ebm_cli.energies import Energy, Quadratic
from ebm_cli.energies.given import Given
from ebm_cli.methods import CD, CNCE, DSM, ED, FCE, MLE, NCE, SM, SSM, Method
from ebm_cli.methods.bridges import Bridges, waymarks
from ebm_cli.methods.ssm import Projection
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.selftest.gaussian_case import MAP, MEAN, N_CALLS, N_ROWS, gaussian_energy, gaussian_rows, losses, mean_fact
from ebm_cli.selftest.harness import Fact, Harness, Skip
from ebm_cli.selftest.noise_likelihoods import likelihood_facts
from ebm_cli.selftest.perturbed_rows import conditional_facts, discrepancy_facts
from ebm_cli.selftest.tolerances import RELATIVE, SIGMAS, relative_error

KL_BOUND = 0.15
"""Bound of the error of an entropy that is estimated from the nearest neighbours of 512 points, nats."""
GRID_BOUND = 1e-3
"""Bound of the relative error of the loss of mle on its grid of 32² nodes."""
RIDGE_BOUND = 1e-3
"""Bound of the relative error that the ridge of a whitening makes."""


def objective_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    """The known values of one option of the group `method`."""
    rows = gaussian_rows(harness.rng(f"methods/{name}/rows"))
    method: Method = harness.build("method", name, Method, shape=(2,), data=rows).double()
    facts = KNOWN.get(type(method))
    if facts is None:
        yield Skip("known value", f"no value of {type(method).__name__} is known in closed form")
    else:
        yield from facts(harness, name, method, rows)


def _score_matching(harness: Harness, name: str, method: SM | SSM, rows: Tensor) -> Iterator[Fact]:
    rng = harness.rng(f"methods/{name}/known")
    trace = float(torch.linalg.inv(torch.cov(rows.T, correction=0)).trace())
    variants: list[tuple[str, SM | SSM]] = [("", method)]
    if isinstance(method, SSM):
        for projection in get_args(Projection):
            own = SSM(projection, method.n_projections, variance_reduction=False).double()
            variants.append((f", {projection}", own))
        # Of a quadratic energy differences are the derivatives, whatever their step is.
        variants.append((", differences", SSM(estimator="finite_difference", eps=1.7).double()))
    variants.append((", whitened", type(method)(whiten=True, shape=(2,), data=rows).double()))
    for suffix, variant in variants:
        # A whitening adds a ridge to the covariance.
        curvature, bound = (trace, RELATIVE) if variant.whitening is None else (2.0, RIDGE_BOUND)
        for scale, where in ((1.0, "at the truth"), (2.0, "elsewhere")):
            found = losses(variant, gaussian_energy(rows, scale), rows, rng)
            expected = (0.5 * scale**2 - scale) * curvature
            if float(found.std()) < 1e-9:
                error = abs(float(found.mean()) - expected) / curvature
                yield Fact(f"{where}{suffix}", error, bound, "relative")
            else:
                yield mean_fact(f"{where}{suffix}", found, expected)


def _denoising(harness: Harness, name: str, method: DSM, rows: Tensor) -> Iterator[Fact]:
    rng, s2 = harness.rng(f"methods/{name}/known"), method.sigma**2
    v = torch.cov(rows.T, correction=0)
    for scale, where in ((1.0, "at the blurred truth"), (2.0, "elsewhere")):
        energy = gaussian_energy(rows, scale, blur=method.sigma)
        p = energy.precision.detach()
        rest = s2 * p - torch.eye(2, dtype=p.dtype)
        expected = 0.5 * float((s2 * p @ v @ p + rest @ rest).trace())
        yield mean_fact(where, losses(method, energy, rows, rng), expected)


def _classifier_loss(energy: Energy, log_z: Tensor, q: Density, x: Tensor, y: Tensor, nu: float) -> Tensor:
    """−mean log[p/(p + ν q)] at data x − ν mean log[ν q/(p + ν q)] at noise y, from the densities."""
    p_x, p_y = ((-energy(at) - log_z).exp() for at in (x, y))
    q_x, q_y = (nu * q.log_prob(at).exp() for at in (x, y))
    loss: Tensor = -(p_x / (p_x + q_x)).log().mean() - nu * (q_y / (p_y + q_y)).log().mean()
    return loss


def _noise_contrastive(harness: Harness, name: str, method: NCE, rows: Tensor) -> Iterator[Fact]:
    stream = f"methods/{name}/known"
    method.prepare(rows, harness.rng(f"{stream}/fit"))
    same = Given(lambda x: -0.3 - method.noise.log_prob(x), (2,))
    method.calibrate(same, rows, harness.rng(stream))
    yield Fact("log Z of a trained energy", abs(float(method.log_z.detach()) - 0.3), RELATIVE, "nats")
    for nu in (1.0, 2.0):
        method.nu = nu
        with torch.no_grad():
            method.log_z.fill_(0.3)
            found = method.loss(same, rows, harness.rng(stream)).loss
            expected = torch.tensor(math.log(1 + nu) + nu * math.log(1 + 1 / nu), dtype=rows.dtype)
            yield Fact(f"noise = data, nu = {nu:g}", relative_error(found, expected), RELATIVE, "relative")
            energy = gaussian_energy(rows, scale=1.5, shift=0.4)
            found = method.loss(energy, rows, harness.rng(stream)).loss
            seed = int(method.noise_seed)
            rng = harness.rng(stream) if method.redraw else torch.Generator().manual_seed(seed)
            y = method.noise.sample_with_log_prob(round(nu * len(rows)), rng)[0]
            expected = _classifier_loss(energy, method.log_z, method.noise, rows, y, nu)
            yield Fact(f"elsewhere, nu = {nu:g}", relative_error(found, expected), RELATIVE, "relative")
    yield from likelihood_facts(harness.rng(stream), method.noise, rows)


def _bridges(harness: Harness, name: str, method: Bridges, rows: Tensor) -> Iterator[Fact]:
    """Noise that is the data makes every waymark the data; a wrong energy changes the first bridge alone."""
    stream = f"methods/{name}/known"
    method.prepare(rows, harness.rng(f"{stream}/fit"))
    for gaussian in method.gaussians:
        gaussian.load_state_dict(method.noise.state_dict())
    same = Given(lambda x: -0.3 - method.noise.log_prob(x), (2,))
    energy, m = gaussian_energy(rows, scale=1.5, shift=0.4), len(method.alphas) - 1
    with torch.no_grad():
        method.log_z.fill_(0.3)
        found = method.loss(same, rows, harness.rng(stream)).loss
        yield Fact("noise = data", relative_error(found, rows.new_tensor(2 * math.log(2))), RELATIVE, "relative")
        found = method.loss(energy, rows, harness.rng(stream)).loss
        first = waymarks(rows, method.noise.sample(len(rows), harness.rng(stream)), method.alphas)[1]
        bridge = _classifier_loss(energy, method.log_z, method.noise, rows, first, 1.0)
        yield Fact("elsewhere", relative_error(m * found, bridge + 2 * (m - 1) * math.log(2)), RELATIVE, "relative")


def _flow_contrastive(harness: Harness, name: str, method: FCE, rows: Tensor) -> Iterator[Fact]:
    stream = f"methods/{name}/known"
    same = Given(lambda x: -0.3 - method.flow.log_prob(x), (2,))
    energy = gaussian_energy(rows, scale=1.5, shift=0.4)
    with torch.no_grad():
        method.log_z.fill_(0.3)
        y = method.flow.sample_with_log_prob(len(rows), harness.rng(stream))[0]
        game = _classifier_loss(energy, method.log_z, method.flow, rows, y, 1.0)
        for player, sign in (("energy", 1.0), ("flow", -1.0)):
            # Above its threshold, the accuracy gives the flow the next turn.
            method.accuracy.fill_(float(player == "flow"))
            for _ in range(2 * method.turn_every):
                trial = copy.deepcopy(method)
                if trial.loss(energy, rows, harness.rng(stream)).player == player:
                    break
                method.loss(energy, rows, harness.rng(stream))
                method.accuracy.fill_(float(player == "flow"))
            expected = torch.tensor(sign * 2 * math.log(2), dtype=rows.dtype)
            found = copy.deepcopy(method).loss(same, rows, harness.rng(stream)).loss
            yield Fact(f"flow = data, {player}", relative_error(found, expected), RELATIVE, "relative")
            found = copy.deepcopy(method).loss(energy, rows, harness.rng(stream)).loss
            yield Fact(f"elsewhere, {player}", relative_error(found, sign * game), RELATIVE, "relative")


def _contrastive_divergence(harness: Harness, name: str, method: CD, rows: Tensor) -> Iterator[Fact]:
    rng = harness.rng(f"methods/{name}/known")
    truth = gaussian_energy(rows)
    method.l2 = method.kl = 0.0
    if method.sampler.target_accept is not None:
        found = _fresh_terms(method, truth, rng)
        yield mean_fact("gradient at the truth", found[:, 1:], torch.zeros(found.shape[1] - 1))
        method.l2 = 1.0
        # f is half a chi-square of two degrees of freedom: E f² = 2, at data and chains.
        yield mean_fact("squared energies", _fresh_terms(method, truth, rng)[:, 0], 4.0)
        method.l2 = 0.0
    if isinstance(method.sampler, Langevin | MALA):
        yield from _divergence_fact(method, truth, rng)
    langevin = harness.config(f"method={name}", "sampler=langevin")
    exact: CD = harness.build_node(langevin, "method", CD, shape=(2,), data=rows).double()
    exact.l2 = exact.kl = 0.0
    yield from _langevin_facts(exact, rows, rng)
    if method.start == "persistent":
        words = (
            "sampler=langevin",
            "sampler.step_size=0.1",
            "method.weights=jarzynski",
            f"method.witnesses={8 * N_ROWS}",
        )
        weighted: CD = harness.build_node(
            harness.config(f"method={name}", *words), "method", CD, shape=(2,), data=rows
        ).double()
        yield _weights_fact(weighted, rows, rng)


def _weights_fact(method: CD, rows: Tensor, rng: torch.Generator) -> Fact:
    """Weighted walkers find log Z of an energy that has changed since they were drawn, with long Langevin steps."""
    method.prepare(rows, rng)
    energy = gaussian_energy(rows, scale=1.3)
    for _ in range(3):
        found = method.loss(energy, rows, rng).metrics["log_z"]
    assert method.witnesses is not None
    log_z = energy.log_z()
    assert log_z is not None
    weights = method.witnesses.log_weight.softmax(0) * len(method.witnesses.log_weight)
    error = abs(float(found - log_z.detach()))
    return Fact("log Z of walkers", error / float(weights.std() / len(weights) ** 0.5), SIGMAS, "std. errors")


def _fresh_terms(method: CD, energy: Quadratic, rng: torch.Generator) -> Tensor:
    """Loss and gradient of N_CALLS calls, each on new rows of N(m, V) and new chains [N_CALLS, 1 + parameters]."""
    found = []
    for _ in range(N_CALLS):
        z = torch.randn(N_ROWS, 2, generator=rng, dtype=torch.float64)
        rows = z @ torch.tensor(MAP, dtype=z.dtype) + torch.tensor(MEAN, dtype=z.dtype)
        found.append(_terms(method, energy, rows, rng))
    return torch.stack(found)


def _terms(method: CD, energy: Quadratic, rows: Tensor, rng: torch.Generator) -> Tensor:
    """Loss, gradient in the mean and gradient in the precision [7], with chains that start anew."""
    method.prepare(rows, rng)
    loss = method.loss(energy, rows, rng).loss
    grads = torch.autograd.grad(loss, (energy.mean, energy.raw_precision))
    return torch.cat([loss.detach()[None], *(grad.flatten() for grad in grads)])


def _divergence_fact(method: CD, truth: Quadratic, rng: torch.Generator) -> Iterator[Fact]:
    """At the truth the chains have the model's distribution, and KL(chain ‖ model) − log Z is −log Z."""
    method.kl = 1.0
    found = _fresh_terms(method, truth, rng)[:, 0].mean()
    method.kl = 0.0
    log_z = truth.log_z()
    assert log_z is not None
    yield Fact("divergence of the chains", abs(float(found + log_z.detach())), KL_BOUND, "nats")


def _langevin_facts(method: CD, rows: Tensor, rng: torch.Generator) -> Iterator[Fact]:
    """Unadjusted Langevin chains on a Gaussian: x' − μ = (I − εP)(x − μ) + √(2ε) z, so that all moments are known."""
    method.sampler = replace(method.sampler, step_size=0.05)
    energy = gaussian_energy(rows, scale=2.0, shift=0.5)
    precision, eye = energy.precision.detach(), torch.eye(2, dtype=rows.dtype)
    start = torch.cov(rows.T, correction=0), rows.mean(0) - energy.mean.detach()
    v, d = start
    move = eye - method.sampler.step_size * precision
    for _ in range(method.k):
        v, d = move @ v @ move.T + 2 * method.sampler.step_size * eye, move @ d
    gap = start[0] + torch.outer(start[1], start[1]) - v - torch.outer(d, d)
    expected = torch.cat(
        [0.5 * (precision @ gap).trace()[None], -precision @ (start[1] - d), 0.5 * gap.flatten()]
    )  # fmt: skip
    found = torch.stack([_terms(method, energy, rows, rng) for _ in range(N_CALLS)])
    yield mean_fact("Langevin chains", found, expected)


def _likelihood(harness: Harness, name: str, method: MLE, rows: Tensor) -> Iterator[Fact]:
    rng = harness.rng(f"methods/{name}/known")
    energy = gaussian_energy(rows, scale=1.5, shift=0.4)
    normal = MultivariateNormal(energy.mean.detach(), precision_matrix=energy.precision.detach())
    expected = -normal.log_prob(rows).mean()
    yield Fact("closed form", relative_error(method.loss(energy, rows, rng).loss, expected), RELATIVE, "relative")
    without_log_z = Given(energy, (2,))
    yield Fact("grid", relative_error(method.loss(without_log_z, rows, rng).loss, expected), GRID_BOUND, "relative")


KNOWN: dict[type[Method], Callable[[Harness, str, Any, Tensor], Iterator[Fact]]] = {
    SM: _score_matching,
    SSM: _score_matching,
    DSM: _denoising,
    NCE: _noise_contrastive,
    Bridges: _bridges,
    FCE: _flow_contrastive,
    CD: _contrastive_divergence,
    ED: discrepancy_facts,
    CNCE: conditional_facts,
    MLE: _likelihood,
}
"""Class of a method → the facts about its known values."""
