"""Losses on a device without values: nothing is read on the host, and no tensor of another device takes part.

torch's `meta` device computes shapes alone: reading a number raises an error, as does an operation with a tensor of
the CPU unless that has no dimensions, which is looked for here.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ebm_cli.methods.sm import SM
from tests.methods.toys import correlated, mlp
from tests.performance.operations import parts_of, rows
from tests.support import seeded


class Strict(TorchDispatchMode):
    """Refuses every operation that a tensor of the CPU takes part in."""

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor) and value.device.type != "meta":
                raise AssertionError(f"{func} takes a tensor of {value.device}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "words",
    [
        *[[f"method={name}"] for name in ("sm", "ssm", "dsm", "nce", "mle")],
        ["method=nce", "method.objective=self_normalised"],
        ["method=nce", "method.objective=ranking"],
        ["method=ssm", "method.estimator=finite_difference"],
        ["method=ed"],
        ["method=ed", "method.whiten=true", "method.w=0"],
        ["method=cnce"],
        ["method=cnce", "method.eps_least=0.1", "method.whiten=true"],
        ["method=cd"],
        ["method=cd", "sampler=langevin", "method.kl=0.1", "method.l2=0.1"],
        ["method=pcd", "sampler=hmc"],
        ["method=pcd", "sampler=tempering"],
        ["method=pcd", "method.weights=jarzynski", "method.witnesses=8"],
    ],
    ids=" ".join,
)
def test_loss_stays_on_its_device(words: list[str]) -> None:
    parts = parts_of(*words)
    energy, method, x = parts.energy.to("meta"), parts.method.to("meta"), rows(parts).to("meta")
    with Strict():
        out = method.loss(energy, x, seeded())
        out.loss.backward(inputs=method.players(energy)[out.player])
    assert {value.device.type for value in (out.loss, *out.metrics.values())} == {"meta"}


def test_tensor_of_the_cpu_is_found() -> None:
    """Negative control of the test above: a mean of the data without dimensions that stayed where it was."""
    centre = correlated().mean()
    with Strict(), pytest.raises(AssertionError, match="tensor of cpu"):
        SM().loss(mlp(shape=(3,)).to("meta"), correlated().to("meta") - centre, seeded())
