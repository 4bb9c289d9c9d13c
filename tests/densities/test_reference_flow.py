"""The flow that starts at a fitted density."""

import torch

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


def test_flow_from_the_gaussian_is_the_coloured_flow() -> None:
    """The same couplings bend the same whitened normal distribution."""
    data = bent_data()
    coloured = Coloured(perturb(CouplingFlow((2,)).double()), data)
    flow = ReferenceFlow(Gaussian(data), data).double()
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
