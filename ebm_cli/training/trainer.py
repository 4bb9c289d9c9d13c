"""The loop's one step, for every method: ask for a loss, move the player whose turn it is.

The trainer knows no method. It holds one optimizer and one schedule a player, the moving average, and every generator;
the union of their states is the checkpoint, and training from it continues bit for bit.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.datasets.batches import Batches
from ebm_cli.energies import Energy
from ebm_cli.methods import LossOutput, Method
from ebm_cli.methods.base import Evaluations
from ebm_cli.training.clipping import clip_
from ebm_cli.training.ema import EMA
from ebm_cli.training.flat import Flat
from ebm_cli.training.guard import Guard
from ebm_cli.training.precision import Precision, Products
from ebm_cli.training.updates import update

MakeOptimizer = Callable[[Iterable[nn.Parameter], float | None], Optimizer]
"""Parameters and, where the player has its own, a learning rate → optimizer."""

MakeSchedule = Callable[[Optimizer], LRScheduler]


class Trainer:
    """Everything that changes while a run trains.

    Args:
        energy: what is trained.
        method: the objective.
        batches: where rows come from, standardised units.
        make_optimizer: builds a player's optimizer.
        make_schedule: builds an optimizer's schedule; every schedule advances with the global step.
        rng: the method's generator.
        clip_grad_norm: largest norm of a player's gradient, > 0; None leaves it.
        ema: decay of the moving average over the player "energy", in [0, 1).
        guard_interval: most steps between two reads of `guard`.
        precision: of the products in a step.
    """

    def __init__(
        self,
        energy: Energy,
        method: Method,
        batches: Batches,
        make_optimizer: MakeOptimizer,
        make_schedule: MakeSchedule,
        rng: torch.Generator,
        clip_grad_norm: float | None,
        ema: float,
        guard_interval: int,
        precision: Precision = "highest",
    ) -> None:
        self.energy, self.method, self.batches, self.rng = energy, method, batches, rng
        self.step = 0
        self.evaluations = Evaluations()
        self.grad_norm = torch.zeros(())
        players = method.players(energy)
        rates = method.learning_rates()
        self._flats = {name: Flat(parameters) for name, parameters in players.items()}
        self._optimizers = {
            name: make_optimizer(parameters, rates.get(name)) for name, parameters in players.items() if parameters
        }
        self._updates = {name: update(of, self._flats[name]) for name, of in self._optimizers.items()}
        self._make_schedule = make_schedule
        self._schedules = self._fresh_schedules()
        self._clip = float("inf") if clip_grad_norm is None else clip_grad_norm
        names = {id(p): f"energy.{name}" for name, p in energy.named_parameters()}
        names |= {id(p): f"method.{name}" for name, p in method.named_parameters()}
        self.ema = EMA([names[id(p)] for p in players["energy"]], self._flats["energy"], ema)
        self.guard = Guard(guard_interval, rng.device, method.symptoms())
        self._products = Products(precision)

    def advance(self) -> LossOutput:
        """One training step."""
        batch = self.batches.next()
        with self._products:
            out = self.method.loss(self.energy, batch, self.rng)
            if out.player in self._updates:
                flat = self._flats[out.player]
                flat.backward(out.loss)
                self.grad_norm = clip_(flat.gradients, self._clip)
                self._updates[out.player]()
        for schedule in self._schedules.values():
            schedule.step()
        self.step += 1
        self.evaluations = self.evaluations.plus(out.evaluations)
        self.guard.observe(self.step, out.loss, self.grad_norm, out.metrics)
        if out.player == "energy":
            self.ema.update()
        return out

    def learning_rates(self) -> dict[str, float]:
        """The learning rate of each player's next step."""
        return {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in self._optimizers.items()}

    def _fresh_schedules(self) -> dict[str, LRScheduler]:
        return {name: self._make_schedule(optimizer) for name, optimizer in self._optimizers.items()}

    def _replay_schedules(self) -> None:
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"]
        self._schedules = self._fresh_schedules()
        for schedule in self._schedules.values():
            for _ in range(self.step):
                schedule.step()

    def slow_down(self, factor: float, rng: torch.Generator) -> None:
        """Go on from here with learning rates that are multiplied by `factor` and with other random numbers."""
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] *= factor
        self._replay_schedules()
        self.rng.set_state(rng.get_state())
        self.guard.forget()

    def state_dict(self) -> dict[str, Any]:
        """All of it: plain containers and tensors."""
        return {
            "step": self.step,
            "energy": self.energy.state_dict(),
            "ema": self.ema.state_dict(),
            "method": self.method.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "schedules": {name: schedule.state_dict() for name, schedule in self._schedules.items()},
            "batches": self.batches.state_dict(),
            "rng": self.rng.get_state(),
            "evaluations": list(self.evaluations),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Schedules are built for this run's length and replayed to the step, not loaded: for the same length that gives
        the same numbers, and a run that is continued for longer follows its longer schedule.
        """
        self.step = int(state["step"])
        self.energy.load_state_dict(state["energy"])
        self.method.load_state_dict(state["method"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._replay_schedules()
        self.ema.load_state_dict(state["ema"])
        self.batches.load_state_dict(state["batches"])
        self.rng.set_state(state["rng"].cpu())
        self.evaluations = Evaluations(*state["evaluations"])
