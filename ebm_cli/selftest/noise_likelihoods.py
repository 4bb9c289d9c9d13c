"""Known values of the other objectives of nce, with energies whose log Z is known.

self_normalised   the negative log-likelihood + e^δ − 1 − δ, δ = log Z − b: exactly, where f = c − log q
ranking           log(K + 1) where the noise is the data; elsewhere −log of the first of K + 1 probabilities ∝ p/q
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies.given import Given
from ebm_cli.methods.nce import NCE
from ebm_cli.selftest.gaussian_case import gaussian_energy
from ebm_cli.selftest.harness import Fact
from ebm_cli.selftest.tolerances import RELATIVE, relative_error

LOG_Z = 0.3
"""Log Z of the energy −log q − 0.3."""


def likelihood_facts(rng: torch.Generator, noise: Density, rows: Tensor) -> Iterator[Fact]:
    """The facts about the objectives beside the logistic one, of a fitted noise."""
    same = Given(lambda x: -LOG_Z - noise.log_prob(x), (2,))
    with torch.no_grad():
        nll = -noise.log_prob(rows).mean()
        for delta in (0.0, 0.5, -0.7):
            method = NCE(noise, objective="self_normalised", log_z=LOG_Z - delta).double()
            found = method.loss(same, rows, rng).loss - nll
            gap = rows.new_tensor(math.expm1(delta) - delta)
            error = relative_error(1 + found, 1 + gap)
            yield Fact(f"self-normalised, {delta:g} from log Z", error, RELATIVE, "relative")
        method = NCE(noise, nu=3, objective="ranking").double()
        found = method.loss(same, rows, rng).loss
        yield Fact("ranking, noise = data", relative_error(found, rows.new_tensor(math.log(4))), RELATIVE, "relative")
        energy, state = gaussian_energy(rows, scale=1.5, shift=0.4), rng.get_state()
        found = method.loss(energy, rows, rng).loss
        y, log_q = noise.sample_with_log_prob(3 * len(rows), torch.Generator().set_state(state))
        ratio = torch.exp(-energy(rows) - noise.log_prob(rows)), torch.exp(-energy(y) - log_q).view(3, -1)
        expected = -(ratio[0] / (ratio[0] + ratio[1].sum(0))).log().mean()
        yield Fact("ranking, elsewhere", relative_error(found, expected), RELATIVE, "relative")
