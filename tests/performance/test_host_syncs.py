"""Host synchronisations: between two logged steps, the host reads no value from the device."""

import pytest
import torch

from ebm_cli.selftest.training import waits_fact
from tests.performance.operations import Operations, parts_of, rows
from tests.support import METHODS, composed, seeded

WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")
"""Operations with a result that the host needs: on a GPU it waits for everything that was launched before."""


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("sm", 0),
        ("ssm", 0),
        ("dsm", 0),
        ("nce", 0),
        ("bridges", 0),
        ("mle", 0),
        ("ed", 0),
        ("cnce", 0),
        ("fce", 4),
        ("cd", 3),
        ("pcd", 3),
    ],
)
def test_losses_do_not_wait_for_the_device(method: str, expected: int) -> None:
    """Synchronisations in 20 losses: fce reads its accuracy once a turn, cd that of its chains every fifth time."""
    parts = parts_of(f"method={method}", *(["method.turn_every=5"] if method == "fce" else []))
    x, rng = rows(parts), seeded()
    with Operations() as counted:
        for _ in range(20):
            out = parts.method.loss(parts.energy, x, rng)
            out.loss.backward(inputs=parts.method.players(parts.energy)[out.player])
    assert sum(counted.found[name] for name in WAITS) <= expected


def test_waiting_for_the_device_is_counted() -> None:
    """Negative control of the test above."""
    with Operations() as counted:
        assert float(torch.ones(2).sum()) == 2
    assert sum(counted.found[name] for name in WAITS) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_gpu_between_logged_steps(method: str) -> None:
    """The same fact as of `ebm check device=cuda`."""
    fact = waits_fact(composed(f"method={method}", "device=cuda", "log_every=100", "steps=100"))
    assert fact.holds, fact
