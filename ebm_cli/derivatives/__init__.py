"""Derivatives of an energy: its gradient in x, directional second derivatives and the exact Laplacian; layer 2,
imported by layers 3 and above.

Every sampler and every score-matching method takes its derivatives here. An energy whose layers all have a rule (see
`rules`) is differentiated by them, which is several times faster than autograd; any other callable goes through
autograd with the same result. An energy may carry its sweeps in compiled form (`energy.compiled`, see `compiled`):
chains and losses then go through it.
"""

from ebm_cli.derivatives.compiled import Compiled
from ebm_cli.derivatives.first_order import EnergyFn, detached_gradient, gradient, prepared, value_and_grad
from ebm_cli.derivatives.jet import At, Differentiable, Jet, Pullback, There
from ebm_cli.derivatives.linear import Linear
from ebm_cli.derivatives.rules import supports, sweep, vjp
from ebm_cli.derivatives.second_order import (
    Directional,
    ScoreTerms,
    directional,
    exact_terms,
    laplacian,
    sliced_terms,
)

__all__ = [
    "At",
    "Compiled",
    "Differentiable",
    "Directional",
    "EnergyFn",
    "Jet",
    "Linear",
    "Pullback",
    "ScoreTerms",
    "There",
    "detached_gradient",
    "directional",
    "exact_terms",
    "gradient",
    "laplacian",
    "prepared",
    "sliced_terms",
    "supports",
    "sweep",
    "value_and_grad",
    "vjp",
]
