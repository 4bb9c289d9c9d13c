"""What a command does before its work and beside it: what it imports, how often it composes, what a step costs.

Facts that no neighbour on the machine changes: modules, calls and operations are counted, never seconds.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.hydra import Hydra
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ebm_cli.methods import LossOutput
from ebm_cli.reporting.jsonl import JsonLines
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import FAST, REPO, Ebm, composed, no_pictures

NOT_TO_BEGIN = {
    "sklearn",
    "matplotlib",
    "scipy",
    "zuko",
    "pandas",
    "torch._inductor.compile_fx",
    "torch.utils.cpp_extension",
}
"""What evaluation, figures, flows and compilers need: a second or more of imports together."""

STOP_AT = """
import importlib, os, sys
def stop(*given, **named):
    print("STOPPED", *sorted(sys.modules), file=sys.stderr, flush=True)
    os._exit(0)
import {module}
{module}.{name} = stop
from ebm_cli.cli.main import main
main(sys.argv[1:])
"""


def imported_until(module: str, name: str, *words: str, cwd: Path) -> set[str]:
    """The modules that `ebm WORDS` has imported when it comes to call this function."""
    code = STOP_AT.format(module=module, name=name)
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=cwd, check=False)
    assert ran.stderr.startswith("STOPPED"), ran.stderr[-1000:]
    return set(ran.stderr.split())


# --- imports ----------------------------------------------------------------------------------------------------------


def test_what_is_imported_before_the_first_step(tmp_path: Path) -> None:
    modules = imported_until("ebm_cli.training.trainer", "Trainer.advance", "train", "hydra.run.dir=run", cwd=tmp_path)
    assert "torch.optim" in modules
    assert not modules & NOT_TO_BEGIN


@pytest.mark.parametrize("method", ["nce", "sm"])
def test_a_run_does_not_import_torchs_compiler(
    method: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimizers would bring it, where they are made, stepped, saved or loaded."""
    no_pictures(monkeypatch)
    words = ["train", f"method={method}", *FAST, "steps=4", "checkpoint_every=2"]
    modules = imported_until("ebm_cli.training.session", "Session._finish", *words, "hydra.run.dir=run", cwd=tmp_path)
    assert "torch.optim" in modules
    assert "torch._dynamo" not in modules
    assert ebm(*words, "hydra.run.dir=whole").code == 0
    again = ["train", "checkpoint=whole", "steps=6"]
    assert "torch._dynamo" not in imported_until("ebm_cli.training.session", "Session._finish", *again, cwd=tmp_path)


def test_what_is_imported_before_the_first_transition(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No optimizer is made, so that its share of torch is not imported either; nor TensorBoard."""
    no_pictures(monkeypatch)
    assert ebm("train", *FAST, "steps=1", "hydra.run.dir=run").code == 0
    modules = imported_until("ebm_cli.commands.sample", "_run", "sample", "checkpoint=run", cwd=tmp_path)
    assert not modules & (NOT_TO_BEGIN | {"tensorboard", "torch._dynamo", "ebm_cli.training.session"})


@pytest.mark.parametrize(("line", "answer"), [("ebm train method=", "method=nce"), ("ebm train e", "energy=")])
def test_completion_imports_neither_torch_nor_hydra(line: str, answer: str) -> None:
    code = (
        f"import sys; from ebm_cli.cli.completion import candidates; print(candidates({line!r})); print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, modules = ran.stdout.splitlines()
    assert answer in found
    assert not set(modules.split()) & {"torch", "hydra", "omegaconf", "numpy", "rich"}


# --- composing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each time that Hydra composes a config."""
    found: list[Any] = []
    compose = Hydra.compose_config

    def counted(self: Hydra, *given: Any, **named: Any) -> DictConfig:
        found.append(named.get("overrides"))
        return compose(self, *given, **named)

    monkeypatch.setattr(Hydra, "compose_config", counted)
    return found


def test_a_verb_composes_once(ebm: Ebm, compositions: list[Any]) -> None:
    before = Hydra.get_mode
    assert ebm("runs", "root=.").code == 0
    assert len(compositions) == 1
    assert Hydra.get_mode is before


def test_where_something_chosen_may_ask_for_a_sweep_hydra_looks(
    ebm: Ebm, compositions: list[Any], tmp_path: Path
) -> None:
    assert ebm("runs", "root=.", "hydra.mode=RUN").code == 0
    assert len(compositions) == 2
    (tmp_path / "mine").mkdir()
    compositions.clear()
    assert ebm("runs", "root=.", "--config-dir", "mine").code == 0
    assert len(compositions) == 2


def test_of_what_is_shipped_only_experiments_choose_a_mode() -> None:
    """`hydra.mode` is the one key that needs a first look; an experiment that sweeps is found to be one."""
    choosing = {
        path.relative_to(REPO / "conf").parts[0]
        for path in (REPO / "conf").rglob("*.yaml")
        if re.search(r"^\s+mode: \w+$|hydra\.mode", path.read_text(), re.MULTILINE)
    }
    assert choosing == {"experiment"}


# --- the loop ---------------------------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Counts what is done to tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[str(op.overloadpacket)] += 1
        return op(*args, **(kwargs or {}))


def idle(parameters: Iterable[Tensor], metrics: Iterable[str]) -> Callable[..., LossOutput]:
    """The loss of a method that does nothing: one number, with a gradient for each parameter."""
    given, shown = list(parameters), {name: torch.zeros(()) for name in metrics}

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            return torch.zeros(())

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return tuple(torch.zeros_like(p) for p in given)

    return lambda energy, x, rng: LossOutput(Nothing.apply(*given), shown)  # type: ignore[no-untyped-call]


def test_the_operations_of_a_step_beside_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all parameters where there is one: their number does not enter. Nothing is done twice or for nothing."""

    def counted(*words: str) -> Counter[str]:
        cfg = composed("method=nce", "dataset=moons", "energy=mlp", "log_every=10", *words)
        parts = assemble(cfg)
        trainer = make_trainer(cfg, parts)
        parameters = parts.method.players(parts.energy)["energy"]
        symptoms = parts.method.symptoms()
        monkeypatch.setattr(parts.method, "loss", idle(parameters, (symptom.metric for symptom in symptoms)))
        # The first one draws the block that batches are cut from, and the second one finds what the optimizer keeps.
        trainer.advance()
        trainer.advance()
        operations = Operations()
        with operations:
            trainer.advance()
        of_the_method = Counter({"aten.zeros": 1, "aten.zeros_like": len(parameters)})
        # Autograd detaches each gradient as it hands it over: a view, which computes nothing.
        of_the_method["aten.detach"] = operations.found["aten.detach"]
        # What the method asks to be watched is read, a number each.
        of_the_method["aten._local_scalar_dense"] = len(symptoms)
        return operations.found - of_the_method

    found = counted()
    for each in ("_foreach_copy_", "linalg_vector_norm", "_fused_adam_", "lerp_"):
        assert found[f"aten.{each}"] == 1
    assert found["aten._foreach_mul_"] == 0  # short enough: not multiplied by 1
    assert found["aten.copy_"] == found["aten.zero_"] == 0
    # Two of them are what the symptoms of nce are read from, which on a GPU are read once an interval.
    assert sum(found.values()) <= 11, found
    assert counted("energy.depth=4") == found


def test_a_step_looks_up_no_key_of_the_config(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look costs 0.01 ms, and a small step takes 0.5: between two logged steps there is none."""
    no_pictures(monkeypatch)
    looks: list[str] = []
    seen: list[int] = []
    look, advance = DictConfig.__getattr__, Trainer.advance

    def counted_look(self: DictConfig, key: str) -> Any:
        looks.append(key)
        return look(self, key)

    def counted_step(self: Trainer) -> LossOutput:
        seen.append(len(looks))
        return advance(self)

    monkeypatch.setattr(DictConfig, "__getattr__", counted_look)
    monkeypatch.setattr(Trainer, "advance", counted_step)
    assert ebm("train", *FAST, "steps=12", "log_every=4", "checkpoint_every=null", "eval_every=null").code == 0
    new = [after - before for before, after in pairwise(seen)]
    assert len(new) == 11
    assert not any(count for step, count in enumerate(new, start=1) if step % 4)
    assert looks


def test_what_is_written_and_shown_once_an_interval(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line, one update of the bar, one call with every number for TensorBoard; nothing between intervals."""
    no_pictures(monkeypatch)
    calls: Counter[tuple[str, int]] = Counter()

    def count(owner: type, name: str, step_at: int) -> None:
        call = getattr(owner, name)

        def counted(self: Any, *given: Any) -> Any:
            calls[owner.__name__, given[step_at]] += 1
            return call(self, *given)

        monkeypatch.setattr(owner, name, counted)

    count(JsonLines, "write", 0)
    count(TensorBoard, "scalars", 1)
    count(Progress, "update", 0)
    words = ("steps=11", "log_every=5", "eval_every=null", "checkpoint_every=3")
    assert ebm("train", *FAST, *words, "hydra.run.dir=run").code == 0
    assert {key: calls.pop((key, 11)) for key in ("JsonLines", "TensorBoard")} == {"JsonLines": 2, "TensorBoard": 2}
    assert calls == {(name, step): 1 for name in ("JsonLines", "TensorBoard", "Progress") for step in (5, 10)} | {
        ("Progress", 11): 1
    }
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [5, 10, 11]
