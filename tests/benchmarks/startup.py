"""Rows of the command: time to its answer and to its first step, and the share of a run outside the steps."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from .composing import logged_step, new_run
from .harness import Effort, Fact, Measurement, Row, Variant, measure_times
from .stats import FEWEST, median_interval, ratios

EBM = [str(Path(sys.executable).with_name("ebm"))]
BARE = """
import torch, hydra
w = torch.nn.Parameter(torch.zeros(8))
optimizer = torch.optim.Adam([w])
w.sum().backward()
optimizer.step()
"""
"""A minimal program with torch, Hydra and an optimizer, up to its first step."""
INSTRUMENTED = """
import sys, time
from ebm_cli.training.session import Session
from ebm_cli.training.trainer import Trainer
spent = {}
def timed(owner, name):
    call = getattr(owner, name)
    def wrapped(*given):
        began = time.perf_counter()
        try:
            return call(*given)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
    setattr(owner, name, wrapped)
timed(Trainer, "advance")
timed(Session, "_log")
from ebm_cli.cli.main import command
code = command()
print("SPENT", *(f"{name} {seconds}" for name, seconds in spent.items()), file=sys.stderr)
sys.exit(code)
"""
"""`ebm` with the training steps and the logging at the default interval timed."""
POLL = 0.002
"""Seconds between two looks at the file of metrics."""


def rows() -> list[Row]:
    return [
        Row("startup-help", "ebm --help", lambda effort: _time_to_answer(["--help"], 0.25, effort)),
        Row("startup-completion", "completion of `ebm train method=`", _completion),
        Row("startup-train", "ebm train, to its first step", _first_step),
        Row("startup-share", "ebm train, the default run", _outside),
        Row("startup-loop", "the loop beside the method, nce on moons", _loop),
    ]


def _time_to_answer(words: list[str], at_most: float, effort: Effort, **environment: str) -> Measurement:
    env = os.environ | environment
    seconds = [_seconds(lambda: _run([*EBM, *words], env)) for _ in range(_rounds(effort))]
    middle = median_interval(seconds)
    return Measurement(facts=[Fact("answers in", middle.median, "s", at_most, (middle.low, middle.high))])


def _completion(effort: Effort) -> Measurement:
    line = "ebm train method="
    return _time_to_answer(["-sc", "query=bash"], 0.35, effort, COMP_LINE=line, COMP_POINT=str(len(line)))


def _first_step(effort: Effort) -> Measurement:
    """Time to the first line of metrics.jsonl, against the minimal program `BARE`."""
    ours, bare = [], []
    for _ in range(_rounds(effort)):
        bare.append(_seconds(lambda: _run([sys.executable, "-c", BARE])))
        ours.append(_to_first_step())
    ratio, middle = ratios(bare, ours), median_interval(ours)
    return Measurement(
        facts=[
            Fact("first step after", middle.median, "s", None, (middle.low, middle.high)),
            Fact("of imports and an Adam step", ratio.median, "×", 1.3, (ratio.low, ratio.high)),
        ]
    )


def _to_first_step() -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = ["train", "log_every=1", f"hydra.run.dir={run}"]
        began = time.perf_counter()
        with subprocess.Popen(
            [*EBM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        ) as process:
            metrics = run / "metrics.jsonl"
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None:
                    raise RuntimeError(f"ebm train ended with {process.returncode} before its first step")
                time.sleep(POLL)
            took = time.perf_counter() - began
            process.kill()
        return took


def _outside(effort: Effort) -> Measurement:
    """The share of the wall time of `ebm train` outside the training steps: imports, evaluation, figures."""
    took, outside, written = [], [], []
    for _ in range(FEWEST if effort.rounds > 2 * FEWEST else 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            words = [sys.executable, "-c", INSTRUMENTED, "train", f"hydra.run.dir={folder}/run"]
            ran = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=True)
            took.append(time.perf_counter() - began)
        line = next(line for line in ran.stderr.splitlines() if line.startswith("SPENT"))
        _, _, steps, _, log = line.split()
        outside.append(100 * (1 - float(steps) / took[-1]))
        written.append(100 * float(log) / float(steps))
    return Measurement(
        facts=[
            _middle("wall time", took, "s", None),
            _middle("of it outside the steps", outside, "%", 35.0),
            _middle("TensorBoard, metrics and progress, of the steps", written, "%", 3.0),
        ]
    )


def _loop(effort: Effort) -> Measurement:
    """The cost of a step of the trainer beyond a handwritten one on a fixed batch: loss, gradient, torch.optim.Adam.

    The difference is the batches, clipping, schedule, moving average, guard and counting, less the saving of one buffer
    each for parameters, gradients and the state of Adam.
    """
    cfg, _, trainer = new_run("method=nce", "dataset=moons")
    torch.set_num_threads(1)
    _, parts, other = new_run("method=nce", "dataset=moons")
    x, rng = other.batches.next(), other.rng
    parameters = parts.method.players(parts.energy)["energy"]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def alone() -> None:
        out = parts.method.loss(parts.energy, x, rng)
        optimizer.zero_grad()
        out.loss.backward(inputs=parameters)
        optimizer.step()

    variants = [Variant("ours, trainer", lambda: logged_step(cfg, trainer)), Variant("ours, method alone", alone)]
    # A small difference of two times, measured in CPU time, which other processes do not change.
    times = measure_times(variants, effort, clock=time.process_time)
    own = [1e3 * (a - b) for a, b in zip(*times.values(), strict=True)]
    middle = median_interval(own)
    return Measurement(
        facts=[Fact("the loop's own cost of a step", middle.median, "ms", 0.05, (middle.low, middle.high))]
    )


def _middle(what: str, values: list[float], unit: str, at_most: float | None) -> Fact:
    spread = (min(values), max(values)) if len(values) > 1 else None
    return Fact(what, sorted(values)[len(values) // 2], unit, at_most, spread)


def _rounds(effort: Effort) -> int:
    return FEWEST if effort.rounds < 20 else 15


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _run(words: list[str], env: Mapping[str, str] | None = None) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=env)
