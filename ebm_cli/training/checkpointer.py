"""The checkpoints of a run: what one holds, which of them are kept, and how a run continues from one.

Where several processes train a run, all of them save and load together: the first one writes and reads.

checkpoints/step-00000100.pt   every `checkpoint_every` steps and at the end; the newest `keep` of them
checkpoints/last.pt            another name of the newest of these
checkpoints/best.pt            lowest monitored value (`monitor`), of all evaluations during training
"""

import logging
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.energies.column_tails import Tails
from ebm_cli.evaluation.values import format_value
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.system.versions import versions
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History
from ebm_cli.training.monitor import spans_phases
from ebm_cli.training.trainer import Trainer

logger = logging.getLogger(__name__)


class Checkpointer:
    """Writes, prunes and restores the checkpoints of a run.

    Args:
        run: run directory.
        config: resolved config, stored in every checkpoint.
        trainer, history: their state is the checkpoint's.
        dataset: its standardizer is part of the state, too.
        keep: numbered checkpoints to keep, ≥ 0.
    """

    def __init__(
        self, run: Path, config: dict[str, Any], trainer: Trainer, history: History, dataset: Dataset, keep: int
    ) -> None:
        self.folder = run / checkpoints.FOLDER
        self.config = config
        self._trainer, self._history, self._dataset, self._keep = trainer, history, dataset, keep
        self._ranks = trainer.ranks

    def save(self) -> None:
        """Write a numbered checkpoint, which is also the last one; remove the oldest.

        Raises:
            Diverged: the state is not sound; nothing is written.
        """
        file = self._write(f"step-{self._trainer.step:08d}.pt")
        self._ranks.on_first(lambda: self._name_last(file))

    def _name_last(self, file: Path) -> None:
        checkpoints.link(file, file.with_name("last.pt"))
        # Numbered checkpoints of later steps are those that a rollback went behind.
        newest = self._trainer.step if self._history.rollbacks.history else None
        checkpoints.prune(self.folder, self._keep, newest)
        logger.info(f"checkpoint of step {self._trainer.step}")

    def save_if_best(self, value: float | None) -> None:
        """Write best.pt if the monitored value is the lowest of the run so far (`monitor` chooses what is monitored).

        Args:
            value: of the weights in memory; None if it could not be measured, which is never the best.

        Raises:
            Diverged: the state is not sound; nothing is written.
        """
        if value is not None and value < self._history.best:
            self._history.best = value
            self._write("best.pt")
            logger.info(f"best so far: {self._history.monitored} {format_value(value)} at step {self._trainer.step}")

    def use_last_as_best(self) -> int | None:
        """Make last.pt the best checkpoint, for a run without a monitored value.

        Returns:
            None; the step of best.pt where it stays, because it has the lowest monitored value of the first phase and
            the second has none.
        """
        best = self.folder / "best.pt"
        stored = checkpoints.read(best) if best.is_file() else {}
        if stored.get("monitored") == self._history.monitored and math.isfinite(float(stored["best"])):
            return int(stored["step"])
        checkpoints.link(self.folder / "last.pt", best)
        return None

    def add_corrections(self, step: int, scales: Tensor | None, tails: Tails | None) -> None:
        """Add what was fitted after training to best.pt and last.pt, where they are of this step.

        A run that continues does so without them.
        """
        added: dict[str, Any] = {} if scales is None else {"scales": scales}
        added |= {} if tails is None else {"tails": tails._asdict()}
        for file in (self.folder / "best.pt", self.folder / "last.pt") if added else ():
            state = checkpoints.read(file) if file.is_file() else {}
            if state.get("step") == step:
                checkpoints.save(file, state | added)

    def load_last(self) -> dict[str, Any]:
        """State in last.pt."""
        return dict(self._ranks.on_first(lambda: checkpoints.read(self.folder / "last.pt")))

    def load_numbered(self, newest: int, n_rollbacks: int) -> dict[str, Any] | None:
        """State of the newest numbered checkpoint up to a step; None if there is none.

        Args:
            newest: the step.
            n_rollbacks: rollbacks that its run had made, at most: a kill may have left one with more.
        """
        found: dict[str, Any] | None = self._ranks.on_first(lambda: self._numbered(newest, n_rollbacks))
        return found

    def _numbered(self, newest: int, n_rollbacks: int) -> dict[str, Any] | None:
        for step, path in sorted(checkpoints.numbered(self.folder), reverse=True):
            if step <= newest:
                state = checkpoints.read(path)
                if len(state.get("rollbacks", [])) <= n_rollbacks:
                    return state
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state."""
        dataset = state["dataset"]
        self._dataset.standardizer.load_state_dict(dataset["standardizer"])
        self._trainer.load_state_dict(state | {"batches": dataset["batches"]})
        self._history.load_state_dict(state)
        # Its own value counts: last.pt was written before the evaluation that may have made this best.pt.
        stored = self._ranks.on_first(self._best)
        if stored is not None:
            is_comparable = spans_phases(self._history.monitored) or stored["is_polishing"] == _is_polishing(state)
            if stored["monitored"] == self._history.monitored and is_comparable:
                self._history.best = float(stored["best"])

    def _best(self) -> dict[str, Any] | None:
        """The numbers that best.pt was chosen by; None without one."""
        best = self.folder / "best.pt"
        if not best.is_file():
            return None
        state = checkpoints.read(best)
        chosen_by = {key: state.get(key) for key in ("monitored", "best")}
        return chosen_by | {"is_polishing": _is_polishing(state)}

    def load_best_weights(self) -> int:
        """Replace the weights in memory by those of best.pt; returns their step. The last weights are in last.pt."""
        state = checkpoints.read(self.folder / "best.pt")
        self._trainer.energy.load_state_dict(state["energy"])
        self._trainer.method.load_state_dict(state["method"])
        self._trainer.ema.load_state_dict(state["ema"])
        return int(state["step"])

    def _write(self, name: str) -> Path:
        """Write a checkpoint; never one that holds a non-finite number, unless divergence is ignored."""
        guard = self._trainer.guard
        guard.require_sound()
        state, file = self._state(), self.folder / name
        bad = self._ranks.on_first(lambda: None if guard.is_ignored else checkpoints.first_non_finite(state))
        if bad is not None:
            raise Diverged(self._trainer.step, f"{bad} is not finite")
        self._ranks.on_first(lambda: checkpoints.save(file, state))
        return file

    def _state(self) -> dict[str, Any]:
        state = self._trainer.state_dict()
        dataset = {
            "shape": list(self._dataset.shape),
            "standardizer": self._dataset.standardizer.state_dict(),
            "batches": state.pop("batches"),
        }
        if self._dataset.fingerprint is not None:
            # The names of the columns are in it.
            dataset |= {"fingerprint": self._dataset.fingerprint._asdict(), "description": self._dataset.description}
        history = self._history.state_dict()
        return {**state, "config": self.config, "dataset": dataset, **history, "versions": versions()}


def _is_polishing(state: dict[str, Any]) -> bool:
    """True for a state of the second phase of its run."""
    return bool(state.get("polish", {}).get("began") is not None)
