"""Threads of a run."""

from typing import Any

import torch
from torch import nn

from ebm_cli.system.device import ALL_THREADS, SMALL, set_threads


def test_set_threads_gives_large_models_all_threads() -> None:
    """`auto` is one thread until the model is known, and for a small one."""

    class Sized(nn.Linear):
        pass

    small: Any = Sized(2, 2)
    large: Any = Sized(1, SMALL, bias=False)
    try:
        assert set_threads(2) == 2
        assert set_threads("auto") == 1
        assert set_threads("auto", small) == 1
        assert set_threads("auto", large) == ALL_THREADS
        assert set_threads(2, large) == 2
    finally:
        torch.set_num_threads(1)
