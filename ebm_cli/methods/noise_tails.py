"""A test of the variance of the weights e^{−f}/q of an energy under a noise: is ∫ e^{−2f}/q finite?

Along a ray from the origin its integrand is exp(g(r)) r^{D−1}, g = −2f − log q. The integral is finite if r^D exp(g(r))
falls, which is looked at between two radii far outside the data.
"""

import math

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies import Energy

RADII = (50.0, 100.0)
"""Standardised units: there the tails alone decide, and squares are exact to a fraction of a nat in float32."""
N_RAYS = 16


def has_light_tails(noise: Density, energy: Energy) -> bool:
    """True if the noise's tails are so light, beside those of e^{−f}, that the weights seem to have no variance.

    Along random rays; a noise that is 0 somewhere far away has the lightest tails of all.
    """
    like = next((t for t in (*energy.parameters(), *energy.buffers()) if t.is_floating_point()), torch.zeros(()))
    size = math.prod(energy.shape)
    rays = torch.randn(N_RAYS, size, generator=torch.Generator().manual_seed(0)).to(like)
    rays = rays / rays.norm(dim=1, keepdim=True)

    def exponent(radius: float) -> Tensor:
        x = (radius * rays).view(N_RAYS, *energy.shape)
        found: Tensor = -2 * energy(x) - noise.log_prob(x) + size * math.log(radius)
        return found

    with torch.no_grad():
        growth = exponent(RADII[1]) - exponent(RADII[0])
        # Where q is 0 at both radii the difference is not a number.
        return bool((~(growth < 0)).any())
