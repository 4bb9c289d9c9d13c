"""The networks of several runs as one energy."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from ebm_cli.derivatives import stacked
from ebm_cli.energies.base import NetworkEnergy


class StackedEnergy(NetworkEnergy):
    """f_r of the points of the r-th block, of R blocks with as many rows each.

    Args:
        energy: of one of the runs; its network is a sequence of linear layers with bias and of activations.
        leaves: the parameters of all runs, [R, *shape] each, in the order of the energy's own.

    Shapes: x [R·B, *shape] → [R·B].
    """

    # A part of the points has other blocks.
    needs_whole_batch: ClassVar[bool] = True

    def __init__(self, energy: NetworkEnergy, leaves: Sequence[Tensor]) -> None:
        assert isinstance(energy.network, nn.Sequential)
        super().__init__(energy.shape, stacked(energy.network, leaves), energy.base)
