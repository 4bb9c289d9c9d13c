"""Private names of torch: this version has them all, and training gives the same numbers without them."""

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.optim.step import fast_step
from ebm_cli.system import torch_internals
from ebm_cli.system.torch_internals import MISSING, TESTED, compiler_failures, has_hooks, has_onednn_linear
from tests.support import REPO

UPGRADE = "; the fallback is used; update ebm_cli/system/torch_internals.py"


def test_this_torch_has_every_private_name() -> None:
    gone = [name for name in MISSING if torch.backends.mkldnn.is_available() or "mkldnn" not in name]
    gone += [f"_dynamo.exc ({at})" for at, error in enumerate(compiler_failures()) if error is RuntimeError]
    assert not gone, f"torch {torch.__version__}: private name {', '.join(gone)} is gone{UPGRADE}"


def test_this_torch_is_a_tested_version() -> None:
    known = torch_internals.is_tested_version()
    assert known, f"torch {torch.__version__}: the inside of Optimizer is tested with {', '.join(TESTED)} only{UPGRADE}"


PUBLIC_ONLY = """
import sys, types
import torch

class Public(types.ModuleType):
    nn = types.SimpleNamespace(Module=type("Module", (), {}))
    def __getattr__(self, name):
        if name in ("ops", "_C") or name.startswith("_f"):
            raise AttributeError(name)
        return getattr(torch, name)

sys.modules["torch"] = Public("torch")
import ebm_cli.system.torch_internals as internals
sys.modules["torch"] = torch
internals.TESTED = ()
"""
"""torch without its private names, for the module that looks them up; no version is a tested one."""

TRAIN = """
import json, sys
from ebm_cli.system import torch_internals
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.cli.resolvers import register_resolvers
from ebm_cli.config.groups import search_path
from tests.support import composed
register_resolvers(search_path())
found = {"missing": torch_internals.MISSING}
for method in ("nce", "sm", "pcd"):
    cfg = composed(f"method={method}", "dataset=moons", "energy.width=32", "steps=20", "clip_grad_norm=0.5")
    trainer = make_trainer(cfg, assemble(cfg))
    losses = [float(trainer.advance().loss.detach()) for _ in range(20)]
    found[method] = losses + [float(p.detach().double().norm()) for p in trainer.energy.parameters()]
found["compiler"] = "torch._dynamo" in sys.modules
print(json.dumps(found))
"""


def run(code: str) -> dict[str, Any]:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.slow
def test_training_is_the_same_without_private_names() -> None:
    private, public = run(TRAIN), run(PUBLIC_ONLY + TRAIN)
    assert (len(public["missing"]), private["missing"]) == (8, MISSING)
    assert (private["compiler"], public["compiler"]) == (False, True)
    for method in ("nce", "sm", "pcd"):
        assert public[method] == pytest.approx(private[method], rel=5e-5, abs=1e-7)


def test_fallbacks_for_lists_of_tensors_are_torchs() -> None:
    source = [torch.randn(3, 5), torch.randn(7), torch.randn(())]
    ours, theirs = ([torch.empty_like(tensor) for tensor in source] for _ in range(2))
    torch_internals._copy_each(ours, source)
    torch_internals.foreach_copy_(theirs, source)
    torch_internals._multiply_each(ours, torch.tensor(0.3))
    torch_internals.foreach_mul_(theirs, torch.tensor(0.3))
    assert all(map(torch.equal, ours, theirs))


def test_unknown_version_is_stepped_by_optimizer_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for version in (f"{TESTED[0]}.0", "99.0.0"):
        monkeypatch.setattr(torch, "__version__", version)
        p = nn.Parameter(torch.linspace(-1, 1, 9))
        optimizer = torch.optim.Adam([p], lr=0.1)
        hooks: list[int] = []
        optimizer.register_step_post_hook(lambda *_, hooks=hooks: hooks.append(1))
        step = fast_step(optimizer)
        for _ in range(3):
            p.grad = p.detach().square()
            step()
        ends.append(p.detach())
        assert len(hooks) == (3 if version == "99.0.0" else 0)
    assert torch.equal(*ends)


def test_unknown_version_leaves_the_methods_of_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "99.0.0")

    def never(method: object) -> Any:
        raise AssertionError("not looked into")

    monkeypatch.setattr(torch_internals.inspect, "unwrap", never)
    torch_internals.skip_dynamo_import()


def test_compiler_failures_are_runtime_errors_where_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TorchDynamo, and with one that has other names."""
    renamed = ModuleType("torch._dynamo")
    vars(renamed)["exc"] = ModuleType("torch._dynamo.exc")
    for module in (None, renamed):
        monkeypatch.setitem(sys.modules, "torch._dynamo", module)
        assert compiler_failures() == (RuntimeError, RuntimeError)


def test_has_hooks_finds_either_kind() -> None:
    plain, before, behind = (nn.Linear(1, 1) for _ in range(3))
    before.register_forward_pre_hook(lambda module, given: None)
    behind.register_forward_hook(lambda module, given, out: None)
    assert [has_hooks(module) for module in (plain, before, behind)] == [False, True, True]


def fails(*_: object) -> Tensor:
    raise RuntimeError("the schema has changed")


def adds_one(x: Tensor, weight: Tensor, bias: Tensor | None, *_: object) -> Tensor:
    return F.linear(x, weight, bias) + 1


@pytest.mark.parametrize("operator", [fails, adds_one, torch_internals._linear])
def test_onednn_linear_is_refused_where_it_is_another(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_onednn_linear() or "ops.mkldnn._linear_pointwise.default" in MISSING
    monkeypatch.setattr(torch_internals, "linear_pointwise", operator)
    assert not has_onednn_linear()
