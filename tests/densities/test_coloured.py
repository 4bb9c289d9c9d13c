"""A flow coloured by the moments of the data."""

import torch

from ebm_cli.densities import Coloured, CouplingFlow, Gaussian
from tests.densities.support import bent_data
from tests.support import seeded


def test_coloured_flow_starts_as_the_fitted_gaussian() -> None:
    data = bent_data()
    coloured, gaussian = Coloured(CouplingFlow((2,)).double(), data), Gaussian(data)
    torch.testing.assert_close(coloured.log_prob(data), gaussian.log_prob(data))
    samples = [density.sample(5, seeded()) for density in (coloured, gaussian)]
    torch.testing.assert_close(*samples)
