"""Resampling of walkers that several processes have."""

import torch
from torch import Tensor

from ebm_cli.methods.resampling import effective_share, pooled
from ebm_cli.system.ranks import Ranks
from tests.ranks import ThreadRanks, together
from tests.support import normal, seeded

N = 12


class Counting(ThreadRanks):
    """Ranks that count what they tell."""

    told = 0

    def gather(self, value: Tensor) -> list[Tensor]:
        self.told += value.numel()
        return super().gather(value)


def values() -> tuple[Tensor, Tensor, Tensor]:
    """Positions, counts and logical values of N walkers."""
    return normal(N, 2, 3, seed=1), torch.arange(N) * 1000, torch.arange(N) % 3 == 0


def test_survivors_of_several_are_those_of_one() -> None:
    log_weight = 3 * normal(N)
    alone = pooled(log_weight, seeded()).survivors()

    def work(ranks: Ranks) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        # Every rank draws its own number; that of the first counts.
        pool = pooled(ranks.part(log_weight), seeded(ranks.index), ranks)
        survivors = pool.survivors()
        own = [ranks.part(value) for value in values()]
        return survivors.take(*own), survivors.log_weight, pool.mean(own[0][:, 0, 0]), pool.effective_share

    found = together(3, work, Counting)
    for i, expected in enumerate(alone.take(*values())):
        joined = torch.cat([took[i] for took, *_ in found])
        assert joined.dtype == expected.dtype
        assert torch.equal(joined, expected)
    assert torch.equal(torch.cat([each[1] for each in found]), alone.log_weight)
    mean = (log_weight.softmax(0) * values()[0][:, 0, 0]).sum()
    torch.testing.assert_close(torch.stack([each[2] for each in found]).mean(), mean)
    assert all(torch.equal(each[3], effective_share(log_weight)) for each in found)


def test_positions_stay_where_weights_are_even() -> None:
    """Each tells its weights and one number; with positions it would be N/2 (2·3 + 2) numbers more."""

    def work(ranks: Ranks) -> int:
        assert isinstance(ranks, Counting)
        own = [ranks.part(value) for value in values()]
        survivors = pooled(torch.linspace(0, 0.1, N // 2), seeded(), ranks).survivors()
        assert all(a is b for a, b in zip(survivors.take(*own), own, strict=True))
        few = ranks.told
        pooled(torch.linspace(0, 9, N // 2), seeded(), ranks).survivors().take(*own)
        assert ranks.told == 2 * few + N // 2 * 8
        return few

    assert together(2, work, Counting) == [N // 2 + 1] * 2
