"""Cost of a step of several seeds as one network: `python -m tests.benchmarks.replicas [METHOD …]`.

Both are timed in one process, in turn, so that whatever else the machine does falls on both: on one thread by the
CPU's time, which other programs hardly lengthen, on two by the clock. Beside the latter is what `jobs=2` has to be
compared by: two processes that take the steps of a half of the seeds each, at the same time, on one thread. Target: 16
seeds of nce with `energy=mlp` as shipped, batch 256, cost at most 5 times a single one, both on two threads.

`fce` is timed over the first steps of a training, on one thread: a step of a flow costs twice one of an energy, and
each run has turns of its own.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from ebm_cli.acceleration.native_chains import NativeChains
from ebm_cli.cli.resolvers import register_resolvers
from ebm_cli.config.groups import conf_dir
from ebm_cli.replicas.step import JointStep
from ebm_cli.runs.assemble import assemble
from ebm_cli.system.memory import keep_freed_memory
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer

METHODS = ("nce", "cnce", "ed", "mle", "sm", "ssm", "dsm", "cd", "pcd")
WITH_NATIVE_CHAINS = ("cd", "pcd")
"""Methods that are timed a second time with chains in native code, which `compile=auto` chooses for long runs."""
SEEDS = (4, 16)
ROUNDS = 40
STEPS_WITH_TURNS = 400


def trainers(method: str, n: int) -> list[Trainer]:
    """Trainers of `method` with `energy=mlp` on moons as shipped, of n seeds."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"method={method}", "energy=mlp", "dataset=moons"])
    made = []
    for cfg.seed in range(n):
        parts = assemble(cfg)
        made.append(make_trainer(cfg, parts))
        parts.method.prepare(parts.dataset.reference, made[-1].rng)
    return made


def medians(steps: Sequence[Callable[[], object]], clock: Callable[[], float]) -> list[float]:
    """Median milliseconds of each of these steps, taken in turn, by a clock of seconds."""
    seconds: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS + 3):
        for step, own in zip(steps, seconds, strict=True):
            began = clock()
            step()
            own.append(clock() - began)
    return [1e3 * statistics.median(own[3:]) for own in seconds]


_start: Barrier
"""The place where the processes of `in_processes` wait for one another."""


def _keep(barrier: Any) -> None:
    global _start
    _start = barrier
    register_resolvers(())
    keep_freed_memory()


def _share_of_a_process(method: str, n: int, native: bool) -> float:
    """Median milliseconds in which this process takes a step of each of n seeds."""
    torch.set_num_threads(1)
    own = trainers(method, n)
    for trainer in own:
        trainer.energy.native = NativeChains(1) if native else None
    _start.wait()
    [milliseconds] = medians([lambda: [trainer.advance() for trainer in own]], time.perf_counter)
    return milliseconds


def in_processes(method: str, n: int, native: bool) -> float:
    """Milliseconds in which two processes at the same time take a step of n seeds, half each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, _keep, (context.Barrier(2),)) as pool:
        return max(pool.map(_share_of_a_process, [method] * 2, [n // 2] * 2, [native] * 2))


def time_turns(n: int) -> None:
    """Print the row of n seeds of fce: means over steps, of those runs one after the other and together."""
    alone, together = trainers("fce", n), trainers("fce", n)
    joint, n_flow, seconds = JointStep(together), 0, [0.0, 0.0]
    for _ in range(STEPS_WITH_TURNS):
        began = time.process_time()
        for trainer in alone:
            trainer.advance()
        between = time.process_time()
        n_flow += sum(out.player == "flow" for out in joint())
        seconds = [seconds[0] + between - began, seconds[1] + time.process_time() - between]
    one, every = 1e3 * seconds[0] / STEPS_WITH_TURNS / n, 1e3 * seconds[1] / STEPS_WITH_TURNS
    share = n_flow / STEPS_WITH_TURNS / n
    print(
        f"fce         {n:5}  {1:7}  {one:7.2f}  {every:7.2f}  {every / one:5.2f}  flow turns: {share:.0%}", flush=True
    )


def main() -> None:
    """Print a table of the methods that are named, or of all."""
    register_resolvers(())
    keep_freed_memory()
    print("method      seeds  threads  one, ms  all, ms  ratio  two processes, ms")
    named = sys.argv[1:] or [*METHODS, "fce"]
    torch.set_num_threads(1)
    for n in SEEDS if "fce" in named else ():
        time_turns(n)
    for method in [method for method in named if method != "fce"]:
        for native in (False, True) if method in WITH_NATIVE_CHAINS else (False,):
            for n in SEEDS:
                time_steps(method, n, native)


def time_steps(method: str, n: int, native: bool) -> None:
    """Print the rows of n seeds of one method."""
    (alone,), together = trainers(method, 1), trainers(method, n)
    joint, name = JointStep(together), f"{method} native" if native else method
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for trainer in (alone, *together):
            trainer.energy.native = NativeChains(threads) if native else None
        one, every = medians([alone.advance, joint], time.process_time if threads == 1 else time.perf_counter)
        beside = f"{in_processes(method, n, native):17.2f}" if threads == 2 else ""
        print(f"{name:10}  {n:5}  {threads:7}  {one:7.2f}  {every:7.2f}  {every / one:5.2f}  {beside}", flush=True)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
