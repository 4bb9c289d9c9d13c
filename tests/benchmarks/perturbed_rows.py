"""Rows of the methods that compare rows with perturbed ones: a whole training step, batch 128, 2-128-128-128-128-1.

The published setting of energy discrepancy: softplus, four perturbations of a row, w = 1. ebmkit has this loss and no
conditional noise contrastive estimation, for which a handwritten loss of two forward passes stands.
"""

from collections.abc import Callable
from unittest.mock import patch

import ebm.losses.energy_discrepancy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.energies.mlp import MLP
from ebm_cli.methods.base import Method
from ebm_cli.methods.cnce import CNCE
from ebm_cli.methods.ed import ED

from . import networks as nets
from .contrastive import module_step, training_step
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

BATCH = 128
T, M, EPS = 0.25, 4, 1.0
PEERS = {"ed": "ebmkit", "cnce": "two forward passes"}


def rows() -> list[Row]:
    return [_row("ed", "Energy discrepancy", 1 + M), _row("cnce", "Conditional NCE", 2)]


def _row(name: str, title: str, n_energies: int) -> Row:
    return Row(
        name=name,
        title=f"{title} step, batch {BATCH}, 2-128-128-128-128-1",
        measure=lambda effort: _measure(name, n_energies, effort),
        base=PEERS[name],
        targets=(Target("ours, native", PEERS[name], 2.0),),
    )


def _measure(name: str, n_energies: int, effort: Effort) -> Measurement:
    x = nets.points(BATCH, 2)
    method: Method = ED(t=T, n_perturbations=M) if name == "ed" else CNCE(eps=EPS)
    peer: Callable[[MLP], nn.Module] = _Ebmkit if name == "ed" else _Separate
    variants = [
        Variant("ours, eager", training_step(method, _network(), x, nets.generator(3))),
        Variant("ours, native", training_step(method, nets.native(_network()), x, nets.generator(3))),
        Variant(PEERS[name], module_step(peer(_network()), x)),
        Variant(FLOOR, nets.floor(nets.training_products(nets.widths(_network()), n_energies * BATCH))),
    ]
    found = Measurement(agreements=require_agreement(_agreements(method, peer, x)))
    found.times = measure_times(variants, effort)
    return found


def _network() -> MLP:
    return nets.mlp(2, 128, 4, "softplus")


class _Ebmkit(nn.Module):
    def __init__(self, energy: MLP) -> None:
        super().__init__()
        self.network = nets.flat(energy)
        self.loss_fn = ebm.losses.energy_discrepancy.EnergyDiscrepancy(T**0.5, M, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        # Without the constant log M that its loss leaves out.
        loss: Tensor = self.loss_fn(self.network, x).loss
        return loss


class _Separate(nn.Module):
    def __init__(self, energy: MLP) -> None:
        super().__init__()
        self.network = nets.flat(energy)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * F.softplus(self.network(x) - self.network(x + EPS * torch.randn_like(x))).mean()


def _agreements(method: Method, peer: Callable[[MLP], nn.Module], x: Tensor) -> list[Agreement]:
    """Agreement of the gradients on the perturbations that our method draws."""
    energy, native, other = _network(), nets.native(_network()), _network()
    for ours in (energy, native):
        method.loss(ours, x, nets.generator(7)).loss.backward()
    xi = torch.randn((1 + (M if isinstance(method, ED) else 0), *x.shape), generator=nets.generator(7))
    draws = [xi[0], xi[1:].transpose(0, 1)]
    with (
        patch("torch.randn_like", lambda like: draws[0]),
        patch("torch.randn", lambda *shape, **keys: draws[1]),
    ):
        peer(other)(x).backward()
    expected = nets.torch_gradient(other)
    return [
        nets.agreement(f"gradient, {name}", nets.torch_gradient(ours), expected, 1e-4)
        for name, ours in (("eager", energy), ("native", native))
    ]
