"""Derivatives of an energy: its gradient in x, directional second derivatives and the exact Laplacian; layer 2,
imported by layers 3 and above.

    gradient in x                     first_order        value_and_grad, detached_gradient, gradient
    directional second derivative     second_order       directional, sliced_terms
    exact Laplacian                   second_order       laplacian, exact_terms; memory: chunked_laplacian
    rules by layer                    rules              supports, sweep, vjp; in linear, elementwise, activations
    compiled sweeps                   compiled           Compiled
    products with a weight            matmul             product, product_by, stacked_product
    networks of one shape as one      stacked            stacked, StackedLinear

Every sampler and every score-matching method takes its derivatives here. An energy whose layers all have a rule is
differentiated by the rules, which is several times faster than autograd; any other callable goes through autograd with
the same result. Where an energy has `compiled`, chains and losses run through it.
"""

from ebm_cli.derivatives.compiled import Compiled
from ebm_cli.derivatives.first_order import EnergyFn, detached_gradient, gradient, prepare, value_and_grad
from ebm_cli.derivatives.jet import Differentiable, Jet, Pullback, ValueAndPullback, VjpFn
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
from ebm_cli.derivatives.stacked import StackedLinear, stacked

__all__ = [
    "Compiled",
    "Differentiable",
    "Directional",
    "EnergyFn",
    "Jet",
    "Linear",
    "Pullback",
    "ScoreTerms",
    "StackedLinear",
    "ValueAndPullback",
    "VjpFn",
    "detached_gradient",
    "directional",
    "exact_terms",
    "gradient",
    "laplacian",
    "prepare",
    "sliced_terms",
    "stacked",
    "supports",
    "sweep",
    "value_and_grad",
    "vjp",
]
