"""Energy functions, the config group `energy`; layer 3, imported by layers 4 and above."""

from ebm_cli.energies.base import Energy, NetworkEnergy
from ebm_cli.energies.conv import Conv
from ebm_cli.energies.eval_mode import evaluating
from ebm_cli.energies.ica import ICA
from ebm_cli.energies.mixture import Mixture
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.energies.rescaled import Rescaled
from ebm_cli.energies.residual_mlp import Residual, ResidualMLP
from ebm_cli.energies.resnet import ResNet
from ebm_cli.energies.sum import Sum
from ebm_cli.energies.tilted import Tilted

__all__ = [
    "ICA",
    "MLP",
    "Conv",
    "Energy",
    "Mixture",
    "NetworkEnergy",
    "Quadratic",
    "ResNet",
    "Rescaled",
    "Residual",
    "ResidualMLP",
    "Sum",
    "Tilted",
    "evaluating",
]
