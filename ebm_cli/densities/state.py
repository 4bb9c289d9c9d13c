"""Loading of fitted densities, whose buffers have as many components as the data asked for."""

from typing import Any

import torch
from torch import nn


def take_stored_shapes(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Before a state is loaded: give the module's buffers the shapes that the state stores.

    A hook for `register_load_state_dict_pre_hook`. It keeps dtype and device.
    """
    for name, buffer in list(module.named_buffers(recurse=False)):
        stored = state.get(prefix + name)
        if stored is not None and stored.shape != buffer.shape:
            module.register_buffer(
                name, torch.empty_like(buffer, memory_format=torch.contiguous_format).new_empty(stored.shape)
            )
