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
from ebm_cli.rng import generator, restore
from ebm_cli.system.precision import Precision, ProductPrecision
from ebm_cli.system.ranks import ONE, Ranks
from ebm_cli.training.divided import agree, joined, parted, was_divided
from ebm_cli.training.guard import REMEDY, Guard
from ebm_cli.training.player import MakeSchedule, Player
from ebm_cli.training.polishing import Polishing

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
        precision: of float32 products in a step.
        polishing: second phase; None without.
        ranks: the processes that train together; method and batches keep the part of this one.

    Raises:
        UserError: they cannot be divided.
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
        ranks: Ranks = ONE,
    ) -> None:
        self.ranks = ranks
        self.energy, self.method, self.batches, self.rng = energy, method, batches, rng
        self.polishing, self._make_schedule = polishing, make_schedule
        self.step = 0
        self.evaluations = Evaluations()
        self.grad_norm = torch.zeros(())
        method.divide(ranks)
        if polishing is not None:
            polishing.polish.divide(ranks)
        players, rates = method.players(energy), method.learning_rates()
        names = {id(p): f"energy.{name}" for name, p in energy.named_parameters()}
        names |= {id(p): f"method.{name}" for name, p in method.named_parameters()}
        if polishing is not None:
            players["energy"] = [*players["energy"], *polishing.parameters(energy)]
            names |= {id(p): f"polish.{name}" for name, p in polishing.polish.named_parameters()}
        if len({id(p) for own in players.values() for p in own}) < sum(map(len, players.values())):
            raise ValueError(f"{type(method).__name__} lists a parameter twice among its players")
        self.players = {
            name: Player(parameters, make_optimizer(parameters, rates.get(name)), make_schedule, ranks)
            for name, parameters in players.items()
            if parameters
        }
        self.max_norm = float("inf") if clip_grad_norm is None else clip_grad_norm
        averaged = self.players["energy"].flat if players["energy"] else Flat([])
        self.ema = EMA([names[id(p)] for p in averaged.parameters], averaged, ema)
        self._make_guard = partial(Guard, guard_interval, rng.device, is_ignored=not is_guarded, ranks=ranks)
        self.guard = self._guard_of_phase()
        self.precision = ProductPrecision(precision, rng.device)

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

    def prepare(self, data: Tensor) -> None:
        """Fit parts of the method to data [N, *D], before the first step of a new run."""
        self.method.prepare(data, self.rng)
        self._agree()

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
        self._agree()
        for player in self.players.values():
            player.restart(slower * self.polishing.polish.lr, self.polishing.make_schedule)
        self.guard = self._guard_of_phase()

    def _agree(self) -> None:
        """Begin with the same parameters and the same fits in all processes: those of the first."""
        if self.ranks.size > 1:
            polish = {} if self.polishing is None else {"polish.": self.polishing.polish}
            modules = {"energy.": self.energy, "method.": self.method, **polish}
            agree(modules, self._divided, self.ranks)
            self.ema.agree(self.ranks)

    def unite(self) -> None:
        """End training: the chains of all processes are in each of them then. All of them must call it."""
        self.method.unite()
        if self.polishing is not None:
            self.polishing.polish.method.unite()

    @property
    def _divided(self) -> list[str]:
        """Entries of the states that the processes do not have in common, with a prefix."""
        own = [f"method.{name}" for name in self.method.divided or ()]
        return own + [f"polish.{name}" for name in (() if self.polishing is None else self.polishing.divided)]

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
    def last_method(self) -> Method:
        """The objective of the last phase: of two, the only one that may have chains."""
        return self.method if self.polishing is None else self.polishing.polish.method

    @property
    def in_last_phase(self) -> bool:
        """True in a run of one phase, and in the second of two."""
        return self.polishing is None or self.polishing.began is not None

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
        """The state of all processes, in plain containers and tensors; all of them must ask for it.

        It is that of one process, where the ranks' chains are joined, and beside it what each rank has for itself.
        """
        batches, rng, polish = self.batches.state_dict(), self.rng.get_state(), {}
        # The ranks of the objective: none any more once it is united.
        method, own = joined(self.method.state_dict(), self.method.divided or (), self.method.ranks)
        mine = {"batches": batches, "rng": rng, "method": own}
        if self.polishing is not None:
            polish, ranks = self.polishing.state_dict(), self.polishing.polish.method.ranks
            polish["parts"], mine["polish"] = joined(polish["parts"], self.polishing.divided, ranks)
        return {
            **({"polish": polish} if polish else {}),
            **({"ranks": self.ranks.collect(mine)} if self.ranks.size > 1 else {}),
            "step": self.step,
            "energy": self.energy.state_dict(),
            "ema": self.ema.state_dict(),
            "method": method,
            "optimizers": {name: player.optimizer.state_dict() for name, player in self.players.items()},
            "schedules": {name: player.schedule.state_dict() for name, player in self.players.items()},
            "batches": batches,
            "rng": rng,
            "evaluations": list(self.evaluations),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Schedules are built for this run's length and replayed to the step, not loaded: for the same length that gives
        the same numbers, and a run that is resumed with more steps follows its longer schedule.

        In a run of another number of processes chains are divided anew, and all random numbers are new; so are those of
        a run on another kind of device.
        """
        ranks, is_as_before = self.ranks, was_divided(state) == self.ranks.size
        mine: dict[str, Any] = state["ranks"][ranks.index] if is_as_before and ranks.size > 1 else {}
        self.step = int(state["step"])
        self.energy.load_state_dict(state["energy"])
        divided = self.method.divided or ()
        self.method.load_state_dict(parted(state["method"], divided, ranks, mine.get("method")))
        make_schedule = self._make_schedule
        if self.polishing is not None:
            polish = state["polish"]
            parts = parted(polish["parts"], self.polishing.divided, ranks, mine.get("polish"))
            self.polishing.load_state_dict(polish | {"parts": parts})
            make_schedule = make_schedule if self.polishing.began is None else self.polishing.make_schedule
            self.guard = self._guard_of_phase()
        for name, player in self.players.items():
            player.optimizer.load_state_dict(state["optimizers"][name])
            player.follow(make_schedule)
            player.replay_schedule(self.phase_step)
        self.ema.load_state_dict(state["ema"])
        if is_as_before:
            own = mine or state
            self.batches.load_state_dict(own["batches"])
            restore(self.rng, own["rng"])
        else:
            self._draw_anew(state)
        self.evaluations = Evaluations(*state["evaluations"])

    def _draw_anew(self, state: dict[str, Any]) -> None:
        """Continue with other random numbers, which the stored ones decide, in a run of another number of processes."""
        device = self.rng.device
        restore(self.rng, state["rng"])
        seed = int(torch.randint(2**62, (), generator=self.rng, device=device))
        self.rng.set_state(generator(seed, self.ranks.stream("method"), device).get_state())
        self.batches.continue_anew(state["batches"], generator(seed, self.ranks.stream("data"), device))
