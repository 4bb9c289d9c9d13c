"""Metrics on a device without values (`tests/methods/test_meta_device.py`): the host reads none of their tensors."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import diagnose, ess_mean, ess_sd
from ebm_cli.evaluation.monte_carlo_error import mcse_mean, mcse_sd
from ebm_cli.evaluation.stein import temperature
from ebm_cli.evaluation.two_sample import sliced_wasserstein, squared_energy_distance, squared_mmd
from tests.methods.test_meta_device import Strict


def meta(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


METRICS: dict[str, Callable[[], object]] = {
    "diagnose": lambda: diagnose(meta(20, 4, 2)),
    "ess_mean": lambda: ess_mean(meta(20, 4, 2)),
    "ess_sd": lambda: ess_sd(meta(20, 4, 2)),
    "mcse_mean": lambda: mcse_mean(meta(20, 4, 2)),
    "mcse_sd": lambda: mcse_sd(meta(20, 4, 2)),
    "squared_mmd": lambda: squared_mmd(meta(60, 2), meta(60, 5), 1.0),
    "squared_energy_distance": lambda: squared_energy_distance(meta(60, 2), meta(60, 5)),
    "sliced_wasserstein": lambda: sliced_wasserstein(meta(60, 2), meta(60, 5), meta(7, 2)),
}


@pytest.mark.parametrize("name", METRICS)
def test_metric_stays_on_its_device(name: str) -> None:
    with Strict():
        METRICS[name]()


def test_metric_that_reads_on_the_host_is_found() -> None:
    """Negative control: the temperature of samples is a number of the host."""
    with Strict(), pytest.raises((RuntimeError, NotImplementedError, AssertionError), match=r"meta|cpu"):
        temperature(lambda x: x.square().sum(1), meta(60, 2))
