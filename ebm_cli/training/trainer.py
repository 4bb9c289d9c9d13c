"""One training step, for every method: compute the loss, and step the player that it is for.

The trainer knows no particular method. It holds the players, the moving average and every generator; the union of their
states is a checkpoint, from which training continues bit for bit.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ebm_cli.datasets.batches import Batches
from ebm_cli.energies import Energy
from ebm_cli.methods import LossOutput, Method
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.polish import of_this_phase
from ebm_cli.optim.ema import EMA
from ebm_cli.optim.flat import Flat
from ebm_cli.training.guard import REMEDY, Guard
from ebm_cli.training.player import MakeSchedule, Player
from ebm_cli.training.polishing import Polishing
from ebm_cli.training.precision import MatmulPrecision, Precision

MakeOptimizer = Callable[[Iterable[nn.Parameter], float | None], Optimizer]
"""Parameters and, for a player that has its own, a learning rate → optimizer."""


class Trainer:
    """All state that training changes.

    Args:
        energy: the model.
        method: the objective.
        batches: training rows, in standardised units.
        make_optimizer: builds a player's optimizer.
        make_schedule: builds an optimizer's schedule; every schedule advances with the global step.
        rng: generator of the method.
        clip_grad_norm: largest norm of a player's gradient, > 0; None for no clipping.
        ema: decay of the moving average over the player "energy", in [0, 1).
        guard_interval: steps between two reads of `guard`, at most.
        is_guarded: whether divergence ends training.
        precision: of matrix products in a step.
        polishing: second phase; None without.

    Raises:
        ValueError: a parameter is listed twice, the parameters of a player have several dtypes or devices, or an
            optimizer steps by a closure.
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
        is_guarded: bool = True,
        precision: Precision = "highest",
        polishing: Polishing | None = None,
    ) -> None:
        self.energy, self.method, self.batches, self.rng = energy, method, batches, rng
        self.polishing, self._make_schedule = polishing, make_schedule
        self.step = 0
        self.evaluations = Evaluations()
        self.grad_norm = torch.zeros(())
        players, rates = method.players(energy), method.learning_rates()
        names = {id(p): f"energy.{name}" for name, p in energy.named_parameters()}
        names |= {id(p): f"method.{name}" for name, p in method.named_parameters()}
        if polishing is not None:
            players["energy"] = [*players["energy"], *polishing.parameters(energy)]
            names |= {id(p): f"polish.{name}" for name, p in polishing.polish.named_parameters()}
        if len({id(p) for own in players.values() for p in own}) < sum(map(len, players.values())):
            raise ValueError(f"{type(method).__name__} lists a parameter twice among its players")
        self.players = {
            name: Player(parameters, make_optimizer(parameters, rates.get(name)), make_schedule)
            for name, parameters in players.items()
            if parameters
        }
        self.max_norm = float("inf") if clip_grad_norm is None else clip_grad_norm
        averaged = self.players["energy"].flat if players["energy"] else Flat([])
        self.ema = EMA([names[id(p)] for p in averaged.parameters], averaged, ema)
        self._make_guard = partial(Guard, guard_interval, rng.device, is_ignored=not is_guarded)
        self.guard = self._guard_of_phase()
        self.precision = MatmulPrecision(precision)

    def advance(self) -> LossOutput:
        """Take one training step; returns the method's loss and metrics."""
        batch = self.batches.next()
        with self.precision:
            out = self._loss(batch)
            if out.player in self.players:
                self.grad_norm = self.players[out.player].step(out.loss, self.max_norm)
        self.conclude(out)
        return out

    def conclude(self, out: LossOutput) -> None:
        """Finish a step whose player has moved."""
        for player in self.players.values():
            player.schedule.step()
        self.step += 1
        self.evaluations = self.evaluations.add(out.evaluations)
        self.guard.observe(self.step, out.loss, self.grad_norm, out.metrics)
        if out.player == "energy":
            self.ema.update()

    def begin_polishing(self, data: Tensor, slower: float = 1.0) -> None:
        """Begin the second phase, from the averaged weights.

        Args:
            data: that its parts are fitted to [N, *D].
            slower: factor on its learning rate.
        """
        assert self.polishing is not None
        self.guard.require_sound()
        self.ema.restart()
        self.polishing.begin(self.step, self.method, self.energy, data, self.rng)
        for player in self.players.values():
            player.restart(slower * self.polishing.polish.lr, self.polishing.make_schedule)
        self.guard = self._guard_of_phase()

    def _guard_of_phase(self) -> Guard:
        """A guard for the symptoms of the method, and in the second phase for those of its objective too."""
        phase, symptoms = self.polishing, self.method.symptoms()
        if phase is None or phase.began is None:
            return self._make_guard(symptoms)
        slower = [replace(symptom, cure=of_this_phase(symptom.cure)) for symptom in symptoms]
        return self._make_guard((*slower, *phase.polish.symptoms()), remedy=of_this_phase(REMEDY))

    def _loss(self, batch: Tensor) -> LossOutput:
        """The loss of the phase."""
        if self.polishing is None or self.polishing.began is None:
            return self.method.loss(self.energy, batch, self.rng)
        return self.polishing.loss(self.method, self.energy, batch, self.rng)

    def second(self, step: int) -> Method | None:
        """The objective of the second phase, for what it learned by this step; None before it, and without one."""
        phase = self.polishing
        return phase.polish.method if phase is not None and phase.began is not None and step > phase.began else None

    @property
    def skipped(self) -> int:
        """Steps of the first of two phases that patience left out."""
        return 0 if self.polishing is None else self.polishing.skipped

    @property
    def phase_step(self) -> int:
        """Steps of the present phase."""
        began = None if self.polishing is None else self.polishing.began
        return self.step - (began or 0)

    def learning_rates(self) -> dict[str, float]:
        """Learning rate of each player's next step."""
        return {name: player.learning_rate for name, player in self.players.items()}

    def slow_down(self, factor: float, rng: torch.Generator) -> None:
        """Multiply the learning rates by `factor`, and replace the method's random numbers by those of `rng`."""
        for player in self.players.values():
            player.scale_learning_rate(factor)
            player.replay_schedule(self.phase_step)
        self.rng.set_state(rng.get_state())
        self.guard.reset()

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in plain containers and tensors."""
        polish = {} if self.polishing is None else {"polish": self.polishing.state_dict()}
        return {
            **polish,
            "step": self.step,
            "energy": self.energy.state_dict(),
            "ema": self.ema.state_dict(),
            "method": self.method.state_dict(),
            "optimizers": {name: player.optimizer.state_dict() for name, player in self.players.items()},
            "schedules": {name: player.schedule.state_dict() for name, player in self.players.items()},
            "batches": self.batches.state_dict(),
            "rng": self.rng.get_state(),
            "evaluations": list(self.evaluations),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Schedules are built for this run's length and replayed to the step, not loaded: for the same length that gives
        the same numbers, and a run that is resumed with more steps follows its longer schedule.
        """
        self.step = int(state["step"])
        self.energy.load_state_dict(state["energy"])
        self.method.load_state_dict(state["method"])
        make_schedule = self._make_schedule
        if self.polishing is not None:
            self.polishing.load_state_dict(state["polish"])
            make_schedule = make_schedule if self.polishing.began is None else self.polishing.make_schedule
            self.guard = self._guard_of_phase()
        for name, player in self.players.items():
            player.optimizer.load_state_dict(state["optimizers"][name])
            player.follow(make_schedule)
            player.replay_schedule(self.phase_step)
        self.ema.load_state_dict(state["ema"])
        self.batches.load_state_dict(state["batches"])
        self.rng.set_state(state["rng"].cpu())
        self.evaluations = Evaluations(*state["evaluations"])
