"""The perceptron of the tests of native code: of a width that fills no vector register."""

from typing import Any

import torch

from ebm_cli.energies import MLP


def mlp(*shape: int, seed: int = 0, width: int = 37, depth: int = 3, **settings: Any) -> MLP:
    """Three inputs, unless a shape is named."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return MLP(shape or (3,), width, depth, **settings).eval()
