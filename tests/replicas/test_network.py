"""The energy of several runs has the values of each at the points of its block, however many they are."""

import torch

from ebm_cli.derivatives import prepare, value_and_grad
from ebm_cli.derivatives.first_order import MAX_ROWS
from ebm_cli.energies.mlp import MLP
from ebm_cli.replicas.network import StackedEnergy
from tests.support import normal


def test_energy_of_runs_is_that_of_each_at_many_points() -> None:
    torch.manual_seed(0)
    each = [MLP((2,), width=4) for _ in range(2)]
    leaves = [torch.stack(same).detach() for same in zip(*(one.parameters() for one in each), strict=True)]
    x = normal(2, MAX_ROWS // 2 + 100, 2).float()
    values, gradients = value_and_grad(prepare(StackedEnergy(each[0], leaves)), x.flatten(0, 1))
    for one, points, value, gradient in zip(each, x, values.chunk(2), gradients.chunk(2), strict=True):
        expected, slope = value_and_grad(one, points)
        assert (value - expected).abs().max() < 1e-5
        assert (gradient - slope).abs().max() < 1e-5
    # The control: the other network.
    assert (values.chunk(2)[1] - each[0](x[1]).detach()).abs().max() > 1e-3
