"""A folder that runs are written to."""

from pathlib import Path

import pytest

from tests.comparison.support import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)
