"""A small classifier of the classes of the data, trained as part of an evaluation.

Its last hidden layer maps each row to FEATURES numbers, in a unit such that those of the training rows have total
variance 1. `features` compares samples and data by them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ebm_cli.optim.step import fast_step
from ebm_cli.system.torch_internals import skip_dynamo_import

FEATURES = 16
"""Width of the last hidden layer: so small that a few dozen rows determine the covariance of the features."""
HIDDEN = 128
STEPS = 500
BATCH = 128
RATE = 3e-3
NOISE = 0.3
"""Standard deviation of the noise on the classifier's training rows, in units of theirs: against memorisation."""


@dataclass(frozen=True)
class Classifier:
    """A network D → HIDDEN → FEATURES → K with SiLU between its layers, on rows that are centred and scaled.

    All columns have one scale, since the rows are in the run's units already: a scale for each would magnify a pixel
    that is nearly constant.
    """

    centre: Tensor
    scale: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    unit: Tensor

    def features(self, x: Tensor) -> Tensor:
        """Features of rows x [N, D] → [N, FEATURES], float64."""
        with torch.no_grad():
            return _last_hidden((x - self.centre) / self.scale, self.weights, self.biases).double() / self.unit

    def classes(self, features: Tensor) -> Tensor:
        """The class of each row from its features [N, FEATURES]: integers [N]."""
        logits = features * self.unit @ self.weights[-1].double() + self.biases[-1].double()
        return logits.argmax(1)


def train_classifier(x: Tensor, labels: Tensor, rng: torch.Generator) -> Classifier:
    """Fit a classifier by cross-entropy: AdamW with a warm-up and a decay of its rate, and noise on the rows.

    Args:
        x: rows [N, D] in the run's units, float32 on the CPU.
        labels: class of each, integers [N] from 0.
        rng: source of every draw, on the CPU.

    Cost: STEPS steps of BATCH rows; 0.3 s for 64 columns on one thread, a few for 3,072.
    """
    centre = x.mean(0)
    scale = (x - centre).square().mean().sqrt().clamp_min(torch.finfo(x.dtype).tiny)
    sizes = (x.shape[1], HIDDEN, FEATURES, int(labels.max()) + 1)
    # Not nn.Linear, which draws its weights from the global generator.
    weights = [torch.randn(a, b, generator=rng) * math.sqrt(2 / a) for a, b in pairwise(sizes)]
    biases = [torch.zeros(b) for b in sizes[1:]]
    parameters = [p.requires_grad_() for p in (*weights, *biases)]
    skip_dynamo_import()
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.01)
    update, schedule = fast_step(optimizer), torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    z, order = (x - centre) / scale, torch.empty(0, dtype=torch.long)
    with torch.enable_grad():
        for _ in range(STEPS):
            while len(order) < BATCH:
                order = torch.cat((order, torch.randperm(len(z), generator=rng)))
            now, order = order[:BATCH], order[BATCH:]
            noisy = z[now] + NOISE * torch.randn(BATCH, z.shape[1], generator=rng)
            logits = _last_hidden(noisy, weights, biases) @ weights[-1] + biases[-1]
            loss = functional.cross_entropy(logits, labels[now])
            optimizer.zero_grad()
            loss.backward()
            update()
            schedule.step()
    with torch.no_grad():
        spread = _last_hidden(z, weights, biases).double().var(0).sum().sqrt()
    fixed = [tuple(p.detach() for p in part) for part in (weights, biases)]
    return Classifier(centre, scale, fixed[0], fixed[1], spread.clamp_min(torch.finfo(x.dtype).tiny))


def _last_hidden(z: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The last hidden layer [N, FEATURES]."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        z = functional.silu(z @ weight + bias)
    return z
