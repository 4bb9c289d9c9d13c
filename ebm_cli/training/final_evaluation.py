"""The final evaluation of a run, which its generator asks for (`steps`): made here, or in another process.

The other process has the run's checkpoint alone, as `ebm evaluate` has, and finds the same bits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ebm_cli.acceleration.compile_mode import CompileMode, apply_compile_mode
from ebm_cli.config.trust import foreign_packages
from ebm_cli.evaluation import suite
from ebm_cli.methods import Method
from ebm_cli.reporting.stages import Stages
from ebm_cli.runs.assemble import protocol_of
from ebm_cli.runs.model import load
from ebm_cli.runs.reserve import total_steps
from ebm_cli.system.device import set_deterministic
from ebm_cli.system.memory import keep_freed_memory
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.threads import set_threads
from ebm_cli.training.build import training_work

if TYPE_CHECKING:
    from ebm_cli.training.session import Session


class Measured(NamedTuple):
    """An evaluation, and the seconds that it took."""

    evaluation: suite.Evaluation
    seconds: float


class Stored(NamedTuple):
    """The evaluated weights, as another process finds them.

    Attributes:
        file: checkpoint.
        device: kind of device that they are evaluated on.
        compile: mode that the run resolved.
        trust: packages whose classes the run's config names, all of which the user typed.
    """

    file: Path
    device: str
    compile: CompileMode
    trust: tuple[str, ...]


@dataclass(frozen=True)
class FinalEvaluation:
    """The evaluation that a trained run asks for.

    Attributes:
        session: of the run; the weights in memory are those that are evaluated.
        second: the objective of a second phase; None without.
        file: the checkpoint that holds these weights.
    """

    session: "Session"
    second: Method | None
    file: Path

    def answer(self) -> Measured:
        """Evaluate the weights in memory; the run's other processes take part."""
        parts, ranks = self.session.parts, self.session.trainer.ranks
        began = time.monotonic()
        with Stages("evaluation", self.session.log.console) as stages:
            found = suite.evaluate(
                parts.energy, parts.method, parts.dataset, self.session.protocol, stages.begin, self.second, ranks
            )
        return Measured(found, time.monotonic() - began)

    @property
    def stored(self) -> Stored:
        """The weights, for `evaluate_stored`, which finds the same."""
        config = self.session.checkpointer.config
        return Stored(self.file, config["device"], config["compile"], tuple(foreign_packages(config)))


def evaluate_stored(stored: Stored, threads: int | str, begin: Callable[[str, int, int], None]) -> Measured:
    """`FinalEvaluation.answer` in a process that has the checkpoint alone; samples are on the CPU.

    Args:
        stored: the weights.
        threads: of this process, as in the run's config.
        begin: is told which stage begins: its name, its number from 1, and how many there are.

    Raises:
        UserError: data that are no longer there.
    """
    began = time.monotonic()
    keep_freed_memory()
    use_full_precision()
    model = load(stored.file, trust=stored.trust, device=stored.device)
    cfg = model.config
    set_deterministic(cfg.deterministic)
    n_threads = set_threads(threads, model.energy)
    parts = model.parts()
    protocol = protocol_of(cfg, cfg.seed, cfg.batch_size, stored.trust)
    work = training_work(parts, cfg.batch_size, protocol, total_steps(cfg))
    apply_compile_mode(stored.compile, parts.energy, work, n_threads, lambda line: None)
    second = None if parts.polish is None else parts.polish.method
    found = suite.evaluate(parts.energy, parts.method, parts.dataset, protocol, begin, second)
    samples = None if found.samples is None else found.samples.cpu()
    return Measured(replace(found, samples=samples), time.monotonic() - began)
