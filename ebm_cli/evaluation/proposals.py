"""Densities for importance sampling of a model that has none of its own: fitted to rows, with tails and room to err.

The proposal is a mixture of normal distributions, K by BIC, as four fifths; the same components twice as wide and with
the tails of Student's t; and one t distribution as wide as all rows. Where the model is up to some factor denser than
the fitted mixture, or its tails are heavier, the two defensive parts bound the weights by a moderate number.

Source: Hesterberg (1995), Technometrics 37(2), for defensive mixtures.
"""

import torch
from torch import Tensor

from ebm_cli.densities.mixture_by_bic import mixture_by_bic
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.student import StudentMixture

SHARES = (0.8, 0.1, 0.1)
"""Probabilities of the mixture, of its components made wider, and of the wide one."""
WIDER = 2.0
"""Factor on the widths of the components."""
DOF = 5.0
"""Degrees of freedom of the defensive parts: heavier tails than those of an energy that grows quadratically."""


def defensive_mixture(rows: Tensor) -> StudentMixture:
    """The proposal fitted to rows [N, *shape].  Cost: seconds, once for the same rows."""
    fit = mixture_by_bic(rows)
    weights, means, factors = (part.double().cpu() for part in (fit.weights, fit.means, fit.factors))
    scatters = factors @ factors.transpose(1, 2)
    mean, factor = (part.double().cpu() for part in Moments.from_rows(rows.cpu()))
    found = StudentMixture(tuple(rows.shape[1:]))
    found.set_components(
        torch.cat([SHARES[0] * weights, SHARES[1] * weights, torch.tensor([SHARES[2]], dtype=weights.dtype)]),
        torch.cat([means, means, mean[None]]),
        torch.cat([scatters, WIDER**2 * scatters, (factor @ factor.T)[None]]),
        torch.cat([torch.full_like(weights, torch.inf), torch.full((len(weights) + 1,), DOF, dtype=weights.dtype)]),
        rows,
    )
    return found
