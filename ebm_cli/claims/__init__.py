"""Claims: what an experiment says will come out, judged on the runs that it made."""

from ebm_cli.claims.base import Claim, Verdict
from ebm_cli.claims.bound import Bound
from ebm_cli.claims.order import Order

__all__ = ["Bound", "Claim", "Order", "Verdict"]
