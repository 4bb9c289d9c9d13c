"""Fixtures of the tests of data sets."""

from collections.abc import Iterator

import pytest
import torch

from tests.datasets.web import Served, serve


@pytest.fixture
def float64() -> Iterator[None]:
    """Build everything in double precision, for finite differences and exact sums."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def served() -> Iterator[Served]:
    """Files on a web server of this machine."""
    with serve() as files:
        yield files
