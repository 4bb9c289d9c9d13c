"""Imports of a command: help and completion need neither torch nor Hydra, a run needs no compiler.

Modules are counted, never seconds, so that other programs on the machine do not change the result.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import FAST, Ebm, no_pictures

NOT_AT_START = {
    "sklearn",
    "matplotlib",
    "scipy",
    "zuko",
    "pandas",
    "torch._inductor.compile_fx",
    "torch.utils.cpp_extension",
    "ebm_cli.replicas",
    "ebm_cli.methods.replicated",
}
"""Modules of evaluation, figures, flows and compilers, together a second or more of imports; those of replicas."""

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
    """Modules that `ebm WORDS` has imported when it calls this function."""
    code = STOP_AT.format(module=module, name=name)
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=cwd, check=False)
    assert ran.stderr.startswith("STOPPED"), ran.stderr[-1000:]
    return set(ran.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["trian"], ["-sc", "query=bash"]])
def test_help_imports_neither_torch_nor_hydra(words: list[str]) -> None:
    """The whole process takes well under half a second of work."""
    code = f"import sys; from ebm_cli.cli.main import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    line = {"COMP_LINE": "ebm train method="}
    before = os.times()
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | line, check=True
    )
    after = os.times()
    modules = set(ran.stderr.split())
    assert "ebm_cli.cli.main" in modules
    assert not modules & {"torch", "hydra", "omegaconf", "numpy", "matplotlib", "rich"}
    # CPU time, which another process on the same machine does not lengthen.
    assert after.children_user - before.children_user + after.children_system - before.children_system < 0.5


@pytest.mark.parametrize("words", [["train", "--cfg", "job"], ["train", "--info", "defaults"]], ids=["cfg", "info"])
def test_printing_a_config_imports_no_torch(words: list[str]) -> None:
    code = f"import sys; from ebm_cli.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "method" in ran.stdout


def test_training_starts_without_evaluation_and_figures(tmp_path: Path) -> None:
    modules = imported_until("ebm_cli.training.trainer", "Trainer.advance", "train", "hydra.run.dir=run", cwd=tmp_path)
    assert "torch.optim" in modules
    assert not modules & NOT_AT_START


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nce", "sm"])
def test_training_does_not_import_the_compiler(
    method: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when an optimizer is made, nor when it steps, is saved or is loaded."""
    no_pictures(monkeypatch)
    words = ["train", f"method={method}", *FAST, "steps=4", "checkpoint_every=2"]
    modules = imported_until("ebm_cli.training.run", "finish", *words, "hydra.run.dir=run", cwd=tmp_path)
    assert "torch.optim" in modules
    assert "torch._dynamo" not in modules
    assert ebm(*words, "hydra.run.dir=whole").code == 0
    resumed = ["train", "checkpoint=whole", "steps=6"]
    assert "torch._dynamo" not in imported_until("ebm_cli.training.run", "finish", *resumed, cwd=tmp_path)


def test_sampling_starts_without_optimizers_and_boards(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No optimizer is made, so that its share of torch is not imported either; nor TensorBoard."""
    no_pictures(monkeypatch)
    assert ebm("train", *FAST, "steps=1", "hydra.run.dir=run").code == 0
    modules = imported_until("ebm_cli.runs.chains", "prepare", "sample", "checkpoint=run", cwd=tmp_path)
    assert not modules & (NOT_AT_START | {"tensorboard", "torch._dynamo", "ebm_cli.training.session"})
