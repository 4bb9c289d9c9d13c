"""The hot replicas of tempered persistent chains, beside the replay buffer that holds the cold ones.

A ladder that began anew at every step of training would not have heated up: k steps are too few to cross between modes.
Therefore each chain of the buffer keeps its replicas, which follow the energy as it changes, as the cold one does. A
chain without a past, of noise or restarted, has all its replicas at one point.

Source: Desjardins, Courville, Bengio, Vincent & Delalleau (2010), "Parallel tempering for training of restricted
Boltzmann machines", AISTATS.
"""

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import EnergyFn
from ebm_cli.methods.replay_buffer import Starts
from ebm_cli.samplers import State, Tempering, select_chains


class HotReplicas(nn.Module):
    """Positions of the replicas above the coldest, one ladder for each row of the replay buffer [N, R − 1, *D].

    Args:
        shape: of a point.
        n_hot: R − 1 ≥ 1.
        buffer_size: N ≥ 1.
    """

    points: Tensor

    def __init__(self, shape: tuple[int, ...], n_hot: int, buffer_size: int) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(buffer_size, n_hot, *shape))

    def start(self, kernel: Tempering, energy: EnergyFn, starts: Starts, cold: Tensor, rng: torch.Generator) -> State:
        """Make the state of chains that continue with their replicas.

        Args:
            kernel: with as many replicas.
            energy: of the chains.
            starts: their rows of the buffer, and their ages; those of age 0 have no replicas yet.
            cold: where the cold replicas start [B, *D].
            rng: for what the kernel draws at a start.

        Cost: one gradient of each replica, where the kernel caches it.
        """
        assert starts.rows is not None
        hot = self.points.index_select(0, starts.rows).transpose(0, 1)
        x = torch.stack((cold, *(select_chains(starts.age > 0, replica, cold) for replica in hot)))
        return kernel.init_ladder(energy, x, rng)

    def store(self, rows: Tensor, replicas: Tensor, cold: Tensor) -> None:
        """Keep the replicas [R, B, *D] of the chains in these rows [B]; one that is not finite is put at the cold one.

        Args:
            rows: of the buffer, all different.
            replicas: the cold one first, which is not kept here.
            cold: what the buffer keeps of it [B, *D].
        """
        kept = [select_chains(hot.flatten(1).isfinite().all(1), hot, cold) for hot in replicas[1:]]
        self.points[rows] = torch.stack(kept, 1)
