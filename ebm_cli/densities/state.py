"""Loading of fitted densities, whose buffers have as many components as the data asked for."""

from collections.abc import Callable
from typing import Any

from torch import nn


def take_any_shapes(module: nn.Module) -> None:
    """Make `load_state_dict` accept buffers of any shape for this module, not those inside it."""
    before_loading(module, _take_stored_shapes)


def before_loading(module: nn.Module, hook: Callable[..., None]) -> None:
    """Call `hook(module, state, prefix, …)` before a state is loaded into the module."""
    module.register_load_state_dict_pre_hook(hook)


def _take_stored_shapes(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name, buffer in list(module.named_buffers(recurse=False)):
        stored = state.get(prefix + name)
        if stored is not None and stored.shape != buffer.shape:
            module.register_buffer(name, buffer.new_empty(stored.shape))
