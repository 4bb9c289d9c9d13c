"""Normalised densities that can be sampled and fitted, the config group `noise`; layer 0, imported by layers 1 and
above."""

from ebm_cli.densities.base import Density
from ebm_cli.densities.coloured import Coloured
from ebm_cli.densities.coupling import CouplingFlow
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.mixture_by_bic import mixture_by_bic
from ebm_cli.densities.reference import Reference
from ebm_cli.densities.reference_flow import ReferenceFlow
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.uniform import Uniform
from ebm_cli.densities.zuko import ZukoFlow

__all__ = [
    "Coloured",
    "CouplingFlow",
    "Density",
    "Differentials",
    "FittedMixture",
    "Gaussian",
    "Reference",
    "ReferenceFlow",
    "StudentMixture",
    "Uniform",
    "ZukoFlow",
    "mixture_by_bic",
]
