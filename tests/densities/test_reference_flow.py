"""The flow that starts at a fitted density."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Coloured, CouplingFlow, FittedMixture, Gaussian, ReferenceFlow
from ebm_cli.methods.fit_density import fit_density
from tests.densities.support import bent_data, perturb
from tests.support import seeded


def test_flow_starts_as_its_reference() -> None:
    data = bent_data()
    reference = FittedMixture(data, n_components=3)
    flow = ReferenceFlow(reference, data).double()
    torch.testing.assert_close(flow.log_prob(data), reference.log_prob(data))
    x, log_q = flow.sample_with_log_prob(100, seeded())
    torch.testing.assert_close(x, reference.sample(100, seeded()))
    torch.testing.assert_close(log_q, reference.log_prob(x))


def lost_mode(kept: float) -> tuple[ReferenceFlow, FittedMixture, Tensor]:
    """A flow that has thrown its second mode, of weight ½, onto the first; with its reference and the rows."""
    z = torch.randn(2000, 1, generator=seeded(), dtype=torch.float64)
    rows = torch.cat((z[:1000] - 5, z[1000:] + 5))
    reference = FittedMixture(rows, n_components=2)
    flow = ReferenceFlow(reference, rows, width=2, kept=kept).double()
    with torch.no_grad():
        # Two bins: the half of the line right of 0 goes to a sliver at the end of the spline's range.
        flow.couplings[0].heights.copy_(torch.tensor([1.0, -1.0]))
    return flow, reference, rows


def test_kept_share_leaves_no_mode_without_noise() -> None:
    """q is λ times the reference at the least; the control, which keeps nothing, has lost what its flow has lost."""
    flow, reference, rows = lost_mode(kept=0.25)
    with torch.no_grad():
        least = (flow.log_prob(rows) - reference.log_prob(rows)).min()
        control, *_ = lost_mode(kept=0.0)
        lost = (control.log_prob(rows) - reference.log_prob(rows)).min()
    assert float(least) == pytest.approx(math.log(0.25), abs=1e-9)
    assert float(lost) < -20


def test_samples_of_a_kept_share_are_of_the_mixture() -> None:
    """E[1] and E[x] under the reference, by weights of the samples: within five standard errors."""
    flow, reference, _ = lost_mode(kept=0.25)
    with torch.no_grad():
        x, log_q = flow.sample_with_log_prob(20_000, seeded(4))
        weights = (reference.log_prob(x) - log_q).exp()
    for of, expected in ((torch.ones_like(weights), 1.0), (x.squeeze(1), float(reference.weights @ reference.means))):
        terms = weights * of
        assert float(terms.mean()) == pytest.approx(expected, abs=5 * float(terms.std()) / len(x) ** 0.5)


def test_first_of_many_samples_are_samples_too() -> None:
    """Points of the reference and moved points are in the order in which they were drawn, not one after the other."""
    flow, _, _ = lost_mode(kept=0.25)
    with torch.no_grad():
        right = flow.sample(8000, seeded(5)) > 0
    shares = [float(half.double().mean()) for half in right.split(4000)]
    assert shares[0] == pytest.approx(shares[1], abs=5 * (2 * 0.11 / 4000) ** 0.5)


def test_gradient_of_the_flow_reaches_through_its_samples() -> None:
    """The derivative of E_q[h(x) + log q(x)] over fixed random numbers is its difference quotient."""
    data = bent_data(500)
    flow = perturb(ReferenceFlow(FittedMixture(data, 2), data, 2, 4).double())
    first = next(flow.couplings.parameters())

    def value() -> Tensor:
        x, log_q = flow.sample_with_log_prob(64, seeded(6))
        return (x.sin().sum(1) + log_q).mean()

    (grad,) = torch.autograd.grad(value(), first)
    with torch.no_grad():
        first.view(-1)[0] += 1e-6
        up = value()
        first.view(-1)[0] -= 2e-6
        down = value()
    assert float(grad.view(-1)[0]) == pytest.approx(float(up - down) / 2e-6, rel=1e-5)


def test_flow_from_the_gaussian_is_the_coloured_flow() -> None:
    """The same couplings bend the same whitened normal distribution."""
    data = bent_data()
    coloured = Coloured(perturb(CouplingFlow((2,)).double()), data)
    flow = ReferenceFlow(Gaussian(data), data, kept=0.0).double()
    flow.couplings.load_state_dict(coloured.density.couplings.state_dict())  # type: ignore[union-attr]
    torch.testing.assert_close(flow.log_prob(data), coloured.log_prob(data))
    torch.testing.assert_close(flow.sample(100, seeded()), coloured.sample(100, seeded()))


def test_nearly_collinear_columns_are_no_obstacle() -> None:
    """The columns differ by a thousandth: log q stays that of the reference, in single precision."""
    x = bent_data().float()
    data = torch.cat((x, x[:, :1] + 1e-3 * x[:, 1:]), 1)
    reference = Gaussian(data)
    flow = ReferenceFlow(reference, data)
    torch.testing.assert_close(flow.log_prob(data), reference.log_prob(data), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_fitted_flow_beats_the_reference_that_it_started_at() -> None:
    data = bent_data()
    gaussian = Gaussian(data)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = ReferenceFlow(gaussian, data, n_couplings=4, width=16).double()
    fit_density(flow, data, 300, seeded())
    with torch.no_grad():
        gain = flow.log_prob(data).mean() - gaussian.log_prob(data).mean()
    assert gain > 0.1
    assert all(torch.equal(value, Gaussian(data).state_dict()[key]) for key, value in gaussian.state_dict().items())
