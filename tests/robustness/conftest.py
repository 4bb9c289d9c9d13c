"""No figures in the runs of these tests: they take longer than the rest of a small run."""

import pytest

from tests.support import no_pictures


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
