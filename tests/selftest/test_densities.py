"""The checks of the densities: each mistake in a density fails its own fact."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Density, Gaussian


class Wrong(Density):
    """A Gaussian with one mistake in it."""

    def __init__(self, data: Tensor, mistake: str = "") -> None:
        super().__init__()
        self.shape, self.mistake, self.right = tuple(data.shape[1:]), mistake, Gaussian(data)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        x = self.right.sample(n, rng)
        return x * 1.1 if self.mistake == "samples" else x

    def log_prob(self, x: Tensor) -> Tensor:
        log_q = self.right.log_prob(x)
        if self.mistake == "integral":
            return log_q + math.log(1.1)
        return 0.9 * log_q.detach() + 0.1 * log_q if self.mistake == "score" else log_q

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, log_q = super().sample_with_log_prob(n, rng)
        return x, log_q + 0.01 if self.mistake == "log q, both ways" else log_q


@pytest.mark.parametrize("mistake", ["", "integral", "samples", "score", "log q, both ways"])
def test_density_with_a_mistake_fails_that_fact(subject: Callable[..., dict[str, str]], mistake: str) -> None:
    found = subject("densities", "noise", Wrong, mistake=mistake)
    assert {what for what, outcome in found.items() if outcome == "FAILED"} == ({mistake} if mistake else set())
    assert len(found) == 4


class Heavy(Wrong):
    """A function whose tails are too heavy for an integral."""

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.square().sum(1).log1p()


def test_density_without_an_integral_fails(subject: Callable[..., dict[str, str]]) -> None:
    (only,) = subject("densities", "noise", Heavy).items()
    assert only[0].startswith("NotIntegrable: exp(-energy) is not integrable")
    assert only[1] == "FAILED"
