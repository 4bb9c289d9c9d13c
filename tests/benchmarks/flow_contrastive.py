"""Rows of flow contrastive estimation: a turn of the energy and a turn of the flow, batch 256, 8 couplings of width 32.

The method and energy (D-128-128-1, SiLU) are the same; only the flow differs. The flows parametrise their scales in
different ways and are not compared with one another. The log-density of the samples of each flow must agree in both
directions, and all flows have the same number of parameters.
"""

from collections.abc import Callable

import normflows
import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.coupling import CouplingFlow
from ebm_cli.densities.zuko import ZukoFlow
from ebm_cli.methods.fce import FCE
from ebm_cli.optim.flat import Flat
from ebm_cli.optim.fused_adam import make_step

from . import networks as nets
from .harness import FLOOR, Agreement, Effort, Measurement, Row, Target, Variant, measure_times, require_agreement

BATCH, N_COUPLINGS, WIDTH, LR = 256, 8, 32, 1e-3


def rows() -> list[Row]:
    return [_row(size) for size in (2, 64)]


def _row(size: int) -> Row:
    return Row(
        name=f"fce-{size}",
        title=f"FCE, both players, D = {size}",
        measure=lambda effort: _measure(size, effort),
        base="zuko",
        unit="a turn of each",
        targets=(Target("ours", "zuko", 1.8),),
    )


class Normflow(Density):
    """RealNVP of normflows: affine couplings on halves, which are swapped between couplings."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.shape = (size,)
        layers = []
        for _ in range(N_COUPLINGS):
            net = normflows.nets.MLP([size // 2, WIDTH, WIDTH, size], init_zeros=True)
            layers += [normflows.flows.AffineCouplingBlock(net), normflows.flows.Permute(size, mode="swap")]
        base = normflows.distributions.base.DiagGaussian(size, trainable=False)
        self.flow = normflows.NormalizingFlow(base, layers)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, log_q = self.flow.sample(n)
        return x, log_q

    def log_prob(self, x: Tensor) -> Tensor:
        log_q: Tensor = self.flow.log_prob(x)
        return log_q


def _measure(size: int, effort: Effort) -> Measurement:
    torch.manual_seed(0)
    flows: dict[str, Density] = {
        "ours": CouplingFlow((size,), N_COUPLINGS, WIDTH),
        "zuko": ZukoFlow((size,), "realnvp", N_COUPLINGS, WIDTH),
        "normflows": Normflow(size),
    }
    counts = {name: sum(p.numel() for p in flow.parameters()) for name, flow in flows.items()}
    found = Measurement(agreements=require_agreement([_consistent(name, flow) for name, flow in flows.items()]))
    found.notes.append(f"D = {size}: parameters of the flows: {', '.join(f'{k} {n:,}' for k, n in counts.items())}")
    x = nets.points(BATCH, size)
    variants = [Variant(name, _both_turns(size, flow, x)) for name, flow in flows.items()]
    found.times = measure_times([*variants, Variant(FLOOR, nets.floor(_products(size)))], effort)
    return found


def _consistent(name: str, flow: Density) -> Agreement:
    with torch.no_grad():
        x, log_q = flow.sample_with_log_prob(BATCH, nets.generator(7))
        return nets.agreement(f"log q of its samples, {name}", flow.log_prob(x), log_q, 1e-4)


def _both_turns(size: int, flow: Density, x: Tensor) -> Callable[[], object]:
    """A step of each player, with the optimizers of `ebm train`."""
    energy, method, rng = nets.mlp(size, 128, 2, "silu"), FCE(flow, turn_every=1), nets.generator(3)
    flats = {name: Flat(own) for name, own in method.players(energy).items()}
    moves = {
        name: make_step(torch.optim.Adam(flat.parameters, lr=LR, fused=True), flat) for name, flat in flats.items()
    }

    def turn() -> str:
        out = method.loss(energy, x, rng)
        flats[out.player].backward(out.loss)
        moves[out.player]()
        return out.player

    def call() -> None:
        # Above the threshold the players take turns.
        method.accuracy.fill_(1.0)
        assert {turn(), turn()} == {"energy", "flow"}

    return call


def _products(size: int) -> list[nets.Product]:
    """The products of both turns: the flow in both directions, its gradients, the energy, and its gradient in x."""
    coupling, energy = [size // 2, WIDTH, WIDTH, size], [size, 128, 128, 1]
    own = [*nets.training_products(coupling, 2 * BATCH), *nets.input_products(coupling[:2], 2 * BATCH)]
    return [
        *nets.forward_products(coupling, 2 * BATCH) * N_COUPLINGS,
        *nets.training_products(energy, 2 * BATCH),
        *own * N_COUPLINGS,
        *nets.forward_products(energy, 2 * BATCH),
        *nets.input_products(energy, BATCH),
    ]
