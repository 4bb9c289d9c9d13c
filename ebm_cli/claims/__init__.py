"""Published statements that an experiment reproduces, judged on its runs; layer 7, imported by layers 8 and above."""

from ebm_cli.claims.base import Claim, Verdict
from ebm_cli.claims.bound import Bound
from ebm_cli.claims.gain import Gain
from ebm_cli.claims.noise_contrastive import NoiseContrastiveError
from ebm_cli.claims.order import Order
from ebm_cli.claims.power_law import PowerLaw
from ebm_cli.claims.table_rule import TableRule

__all__ = ["Bound", "Claim", "Gain", "NoiseContrastiveError", "Order", "PowerLaw", "TableRule", "Verdict"]
