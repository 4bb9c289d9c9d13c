"""The public Python API: what `ebm_cli` and each of its packages export, and that importing it is cheap."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ebm_cli
from tests.support import FAST, REPO, Ebm, no_pictures, seeded

PACKAGES = sorted(path.parent.name for path in (REPO / "ebm_cli").glob("*/__init__.py"))


def imported_names(package: Path) -> set[str]:
    """Names that a package's `__init__` imports from its own modules."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name
        for node in nodes
        if (node.module or "").startswith("ebm_cli")
        for alias in node.names
    }


def test_api_is_what_the_package_lists() -> None:
    assert set(ebm_cli.__all__) - {"__version__"} == imported_names(REPO / "ebm_cli")
    assert set(ebm_cli.__all__) <= set(dir(ebm_cli))
    for name in ebm_cli.__all__:
        assert getattr(ebm_cli, name) is not None


def test_api_has_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        ebm_cli.laod  # noqa: B018


def test_importing_the_api_imports_no_library() -> None:
    code = "import ebm_cli, sys; print(ebm_cli.__version__, len(dir(ebm_cli)) > 5); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    assert "ebm_cli" in modules
    assert not modules & {"torch", "numpy", "hydra", "omegaconf", "ebm_cli.runs", "ebm_cli.energies"}


@pytest.mark.parametrize("name", PACKAGES)
def test_package_exports_what_it_imports(name: str) -> None:
    package = importlib.import_module(f"ebm_cli.{name}")
    exported = getattr(package, "__all__", [])
    assert len(exported) == len(set(exported))
    for each in exported:
        assert hasattr(package, each), each
    if name != "selftest":  # its subjects are exported as one table
        assert set(exported) == imported_names(REPO / "ebm_cli" / name)


def test_api_runs_chains_of_its_own_on_a_network(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages behind the config groups, in standardised units."""
    no_pictures(monkeypatch)
    assert ebm("train", *FAST, "steps=2", "hydra.run.dir=run").code == 0
    model = ebm_cli.load("run")
    assert isinstance(model, ebm_cli.Model)
    rng = seeded()
    x = ebm_cli.samplers.wide_starts(model.standardizer.like, 5, rng)
    state, _ = ebm_cli.samplers.run(ebm_cli.samplers.MALA(0.05), model.network, x, 3, rng)
    samples = model.standardizer.inverse(state.x)
    assert samples.shape == (5, 3)
    assert bool(torch.isfinite(samples).all())
    np.testing.assert_allclose(model.energy(samples.numpy()), state.energy, rtol=1e-4)


def test_api_raises_user_errors(tmp_path: Path) -> None:
    with pytest.raises(ebm_cli.UserError, match="nowhere"):
        ebm_cli.load(tmp_path / "nowhere")
