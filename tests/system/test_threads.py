"""The number of CPU threads."""

from typing import Any

import torch
from torch import nn

from ebm_cli.system.threads import ALL_THREADS, SMALL_NETWORK, set_threads


def test_auto_threads_are_a_rule_on_the_size_of_the_network() -> None:
    small: Any = nn.Linear(2, 2)
    large: Any = nn.Linear(1, SMALL_NETWORK, bias=False)
    try:
        assert set_threads(2) == 2
        assert set_threads("auto") == 1
        assert set_threads("auto", small) == 1
        assert set_threads("auto", large) == ALL_THREADS
        assert set_threads(2, large) == 2
    finally:
        torch.set_num_threads(1)
