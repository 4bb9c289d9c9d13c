"""The flow of affine couplings."""

import torch

from ebm_cli.densities import Gaussian
from ebm_cli.methods.fit_density import fit_density
from tests.densities.support import bent_data, small_flow
from tests.support import seeded


def test_fitted_flow_beats_the_gaussian_on_bent_data() -> None:
    data = bent_data()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = small_flow()
    fit_density(flow, data, 300, seeded())
    with torch.no_grad():
        gain = flow.log_prob(data).mean() - Gaussian(data).log_prob(data).mean()
    assert gain > 0.1
