"""The replay buffer: chains are drawn without repetition and stored in their rows."""

import torch

from ebm_cli.methods.replay_buffer import ReplayBuffer
from tests.support import normal, seeded


def make_buffer(n: int = 50) -> ReplayBuffer:
    return ReplayBuffer(normal(n, 2), torch.arange(float(n)))


def test_draw_takes_each_row_at_most_once() -> None:
    buffer = make_buffer()
    starts = buffer.draw(torch.zeros(50, 2).double(), restart=0.0, rng=seeded())
    assert starts.rows is not None
    assert sorted(starts.rows.tolist()) == list(range(50))
    assert torch.equal(starts.x, buffer.points[starts.rows])
    assert torch.equal(starts.age, buffer.age[starts.rows])


def test_draw_restarts_chains_from_noise_with_age_zero() -> None:
    noise = torch.full((20, 2), 9.0).double()
    starts = make_buffer().draw(noise, restart=1.0, rng=seeded())
    assert torch.equal(starts.x, noise)
    assert not starts.age.any()


def test_write_changes_the_tensors_of_the_method_in_place() -> None:
    points, age = torch.zeros(5, 2), torch.zeros(5)
    ReplayBuffer(points, age).write(
        torch.tensor([3, 1]), torch.tensor([[3.0, 3.0], [1.0, 1.0]]), torch.tensor([7.0, 8])
    )
    assert points[:, 0].tolist() == [0, 1, 0, 3, 0]
    assert age.tolist() == [0, 8, 0, 7, 0]
