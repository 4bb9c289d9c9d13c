"""The state of a module whose processes share the work: joined for a checkpoint, and taken apart again.

A checkpoint holds the state of the whole run, as that of one process: the rows of all, one below the other. It is
loaded by a run of any number of processes. What each has for itself (generators, places in the data, single numbers) is
kept beside it, by rank, and serves a run of the same number alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.system.ranks import Ranks


def joined(state: Mapping[str, Any], divided: Sequence[str], ranks: Ranks) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state of the whole, and the numbers that this process has for itself.

    Args:
        state: of this process.
        divided: entries that the processes do not have in common; missing ones do not matter.
        ranks: the processes.
    """
    found = {name: state[name] for name in divided if name in state}
    rows = {name: ranks.join(value) for name, value in found.items() if value.dim()}
    return {**state, **rows}, {name: value for name, value in found.items() if not value.dim()}


def parted(
    state: Mapping[str, Any], divided: Sequence[str], ranks: Ranks, own: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """The state of this process, from that of the whole.

    Args:
        state: of the whole.
        divided, ranks: as for `joined`.
        own: the numbers that this process had for itself; None if it had another share.
    """
    rows = {name: ranks.part(state[name]) for name in divided if name in state and state[name].dim()}
    return {**state, **rows, **(own or {})}


def was_divided(state: Mapping[str, Any]) -> int:
    """Number of processes of the run that a checkpoint's state is of."""
    return len(state.get("ranks", [None]))


@torch.no_grad()
def agree(modules: Mapping[str, nn.Module], divided: Sequence[str], ranks: Ranks) -> None:
    """Give all processes the parameters and buffers of the first one, but for those that are divided.

    Args:
        modules: by the prefix of their entries in `divided`.
        divided: names that stay as they are.
        ranks: the processes.
    """
    for prefix, module in modules.items():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if f"{prefix}{name}" not in divided:
                ranks.broadcast_(value.detach())
