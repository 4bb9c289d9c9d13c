"""Claims about methods that an experiment measures itself, with one figure each; layer 8, imported by `commands` only.

`base` has the abstraction, `report` prints and writes what it found, `run` is a run that trains nothing. An experiment
names one under `measurement`.
"""

from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.blindness_curves import BlindnessCurves
from ebm_cli.lecture.cost_to_learn import CostToLearn
from ebm_cli.lecture.discrepancy_limits import DiscrepancyLimits
from ebm_cli.lecture.hessian_trace import HessianTrace
from ebm_cli.lecture.hutchinson_variance import HutchinsonVariance
from ebm_cli.lecture.integration_by_parts import IntegrationByParts
from ebm_cli.lecture.langevin_vs_metropolis import LangevinVsMetropolis
from ebm_cli.lecture.learned_log_z import LearnedLogZ
from ebm_cli.lecture.likelihood_gap import LikelihoodGap
from ebm_cli.lecture.mode_masses import ModeMasses
from ebm_cli.lecture.noise_distance import NoiseDistance
from ebm_cli.lecture.noise_is_data import NoiseIsData
from ebm_cli.lecture.partition_function import PartitionFunction
from ebm_cli.lecture.quality_by_data import QualityByData
from ebm_cli.lecture.short_chains import ShortChains
from ebm_cli.lecture.telescoped_ratio import TelescopedRatio
from ebm_cli.lecture.ula_bias import UlaBias
from ebm_cli.lecture.value_function import ValueFunction
from ebm_cli.lecture.why_the_noise import WhyTheNoise

__all__ = [
    "BlindnessCurves",
    "CostToLearn",
    "DiscrepancyLimits",
    "HessianTrace",
    "HutchinsonVariance",
    "IntegrationByParts",
    "LangevinVsMetropolis",
    "LearnedLogZ",
    "LikelihoodGap",
    "Measurement",
    "ModeMasses",
    "NoiseDistance",
    "NoiseIsData",
    "Outcome",
    "PartitionFunction",
    "QualityByData",
    "ShortChains",
    "TelescopedRatio",
    "UlaBias",
    "ValueFunction",
    "WhyTheNoise",
]
