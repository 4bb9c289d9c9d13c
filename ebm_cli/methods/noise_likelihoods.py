"""Two bounds of the likelihood that noise of known density gives, beside the logistic loss of `nce`.

With the log-weights s = −f − log q of an energy f under the noise q:

    self-normalised   L = E_data[f] + b + e^{−b} E_q[e^s] − 1
    ranking           L = −E[ log( e^{s(x_0)} / Σ_{k=0..K} e^{s(x_k)} ) ],   x_0 from the data, x_1 … x_K from q

The first exceeds the negative log-likelihood by e^δ − 1 − δ, δ = log Z − b, so that b is trained to log Z. Its integral
has an infinite variance where the tails of q are too light: E_q[e^{2s}] = ∫ e^{−2f}/q has to be finite (`noise_tails`).
The second needs no log Z, and no row has a weight above 1: L − log(K + 1) falls to the negative log-likelihood plus
E_data[log q] as K grows.

Sources: Senetaire, Jeha, Mattei & Frellsen (2025), arXiv:2503.07021; Ma & Collins (2018), EMNLP; Olmin et al. (2024),
arXiv:2402.16688.
"""

import torch
from torch import Tensor

from ebm_cli.methods.base import Symptom

FEW_WEIGHTS = Symptom(
    "noise_share",
    0.01,
    "almost no row of noise counts in the integral of the energy: log Z is that of one or two of them",
    "choose a noise closer to the data and not narrower (noise.widen, noise=flow), or method.objective=logistic",
    below=True,
    steps=200,
)


def self_normalised(f_data: Tensor, s_noise: Tensor, log_z: Tensor) -> tuple[Tensor, Tensor]:
    """Loss [] and effective share of the noise rows (Σw)²/(M Σw²) [], w = e^s.

    Args:
        f_data: energies of rows of data [B], nats.
        s_noise: log-weights of rows of noise [M].
        log_z: b [], trained.
    """
    loss = f_data.mean() + log_z + torch.exp(s_noise - log_z).mean() - 1
    weights = s_noise.detach().softmax(0)
    return loss, 1 / (len(s_noise) * weights.square().sum())


def ranking(s_data: Tensor, s_noise: Tensor) -> tuple[Tensor, Tensor]:
    """Loss [] and share of the rows of data that have the largest weight among their own noise [].

    Args:
        s_data: log-weights of rows of data [B].
        s_noise: log-weights of the rows of noise of each [K, B].
    """
    together = torch.cat((s_data[None], s_noise))
    first = (s_data.detach() > s_noise.detach().amax(0)).to(s_data.dtype)
    return (together.logsumexp(0) - s_data).mean(), first.mean()
