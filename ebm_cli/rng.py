"""Named random streams.

Each stream of random numbers has its own generator, derived from the seed and a name. Initialisation, data, method and
evaluation do not disturb each other: changing `eval_every` changes no weight.

    initialisation        weights of a new run                        runs/instantiate
    data, method          batches; noise, chains and projections      training/build
    views                 snapshots during training                   training/snapshots
    evaluation/NAME       one stream for each use in an evaluation    evaluation/context, training/monitor,
                          and of annealed starts of `ebm sample`      runs/annealed_starts
    starts, chains        chains of `ebm sample`                      runs/conditioning, commands/sample
    lecture/…             what an experiment measures itself          lecture/
    pictures              chains of `ebm compare`                     comparison/pictures
    split, train, noise/… rows of a data set (prefix "")             datasets/
"""

import hashlib
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor


def generator(seed: int, name: str, device: torch.device, prefix: str = "ebm/") -> torch.Generator:
    """Create the generator of one stream.

    The hash of prefix, seed and name keeps the streams of neighbouring seeds unrelated.

    Args:
        seed: any integer.
        name: of the stream, for instance "evaluation/chains". Names are part of the results: renaming one changes bits.
        device: where the generator draws.
        prefix: "ebm/" for the streams of a run, "" for those of a data set, whose seed is `dataset.seed`.
    """
    digest = hashlib.blake2b(f"{prefix}{seed}/{name}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def restore(rng: torch.Generator, state: Tensor) -> None:
    """Continue a generator from a stored state.

    Kinds of devices have generators of different kinds: of another one's state (it has another size) only a seed can be
    made, from which other random numbers follow, the same ones each time.

    Args:
        rng: on any device.
        state: of a generator, on any device.
    """
    state = state.cpu()
    if state.numel() == rng.get_state().numel():
        rng.set_state(state)
    else:
        digest = hashlib.blake2b(state.numpy().tobytes(), digest_size=8).digest()
        rng.manual_seed(int.from_bytes(digest, "big") >> 1)


class Streams(torch.Generator):
    """The generators of several runs, for a batch whose equal blocks of rows belong to one run each.

    Only what splits its draws among them may be given one (`samplers.base.normal_like`, `uniform_like`); its own state
    is no stream.

    Attributes:
        each: the generators, on one device.
    """

    each: list[torch.Generator]

    @classmethod
    def of(cls, each: Sequence[torch.Generator]) -> Self:
        """The streams of these generators, which are on one device."""
        streams = cls(each[0].device)
        streams.each = list(each)
        return streams
