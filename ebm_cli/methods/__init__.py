"""Training objectives, the config group `method`; layer 4, imported by layers 5 and above."""

from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.bridges import Bridges
from ebm_cli.methods.cd import CD
from ebm_cli.methods.cnce import CNCE
from ebm_cli.methods.dsm import DSM
from ebm_cli.methods.ed import ED
from ebm_cli.methods.fce import FCE
from ebm_cli.methods.mle import MLE
from ebm_cli.methods.nce import NCE
from ebm_cli.methods.polish import Polish
from ebm_cli.methods.sm import SM
from ebm_cli.methods.ssm import SSM

__all__ = [
    "CD",
    "CNCE",
    "DSM",
    "ED",
    "FCE",
    "MLE",
    "NCE",
    "SM",
    "SSM",
    "Bridges",
    "Evaluations",
    "LossOutput",
    "Method",
    "Polish",
    "Symptom",
]
