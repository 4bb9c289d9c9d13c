"""Score matching without a lower bound: noticed on degenerate data, never on data with a density."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.methods import SM, SSM
from ebm_cli.methods.unbounded import UNBOUNDED
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.status import read_status
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import Diverged
from tests.datasets.support import write
from tests.methods.toys import gaussian_energy
from tests.support import Ebm, composed, no_pictures, normal, seeded

X = normal(1000, 2).numpy()
WHOLE = np.round(2 * X[:, :1])
SMALL = ("energy.width=32", "batch_size=64", "optimizer.lr=0.003", "schedule=constant", "log_every=50", "steps=350")
SMALL += ("metrics=[score]", "eval_every=null", "patience=null", "dataset=file", "energy.input_scale=2")


def divergence(folder: Path, rows: np.ndarray, *words: str) -> Diverged | None:
    """The first divergence within 350 steps on these rows."""
    path = write(folder, "x.npy", rows.astype(np.float32))
    cfg = composed(*SMALL, f"dataset.path={path}", *words)
    trainer = make_trainer(cfg, assemble(cfg))
    for step in range(1, 351):
        trainer.advance()
        if step % 50 == 0 and (found := trainer.guard.read()):
            return found
    return None


DEGENERATE = {
    "whole": WHOLE,
    "two values": np.c_[X[:, :1], X[:, 1:] > 0.3],
    "equal columns": np.c_[X[:, :1], X[:, :1]],
    "sum": np.c_[X, X.sum(1)],
    "constant": np.c_[X[:, :1], np.full((1000, 1), 3.0)],
    "copied rows": np.repeat(X[:10], 100, axis=0),
}


LONG = ("two values", "sum", "constant", "equal columns")
"""Kinds beside which another one of their kind is tested at once."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in DEGENERATE]
)
def test_degenerate_data_end_training(tmp_path: Path, name: str) -> None:
    method = "ssm" if name in ("whole", "sum") else "sm"
    found = divergence(tmp_path, DEGENERATE[name], f"method={method}")
    assert found is not None
    assert found.is_of_data
    assert found.step < 200


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param(X, (), marks=pytest.mark.slow),
        pytest.param(np.where(X[:, :1] > 0.5, 5.0, -5.0) + 0.1 * X[:, 1:], (), marks=pytest.mark.slow),
        pytest.param(np.c_[X[:, :1], X[:, :1] + 0.03 * X[:, 1:]], (), marks=pytest.mark.slow),
        pytest.param(WHOLE, ("dataset.dequantise=gaussian",), marks=pytest.mark.slow),
        (np.c_[X[:, :1], X[:, :1]], ("method.whiten=true", "energy=mlp")),
    ],
    ids=["normal", "narrow modes", "nearly collinear", "whole with noise", "equal columns, whitened"],
)
def test_data_with_a_density_do_not(tmp_path: Path, rows: np.ndarray, words: tuple[str, ...]) -> None:
    assert divergence(tmp_path, rows, "method=sm", *words) is None


@pytest.mark.parametrize("method", [SM(), SSM()])
def test_ratio_is_one_at_the_true_energy(method: SM | SSM) -> None:
    """E‖∇f‖² = E tr ∇²f for f = −log p: D for N(0, I) in D dimensions."""
    metrics = method.loss(
        gaussian_energy(torch.eye(3).double(), torch.zeros(3).double()), normal(20_000, 3), seeded()
    ).metrics
    assert float(metrics["laplacian"] / metrics["score_norm"]) == pytest.approx(1.0, abs=0.05)
    assert not UNBOUNDED.detect(metrics["laplacian"], metrics["score_norm"])


def test_large_curvature_alone_is_no_symptom() -> None:
    """A sharp density has a curvature of any size, with a gradient to match."""
    curvature = torch.tensor([1e6, 1e6, 50.0])
    assert UNBOUNDED.detect(curvature, torch.tensor([9e5, 2e5, 1.0])).tolist() == [False, True, False]


@pytest.mark.parametrize(("guard", "code"), [("rollback", 3), pytest.param("ignore", 0, marks=pytest.mark.slow)])
def test_run_ends_once_with_cause_and_cure(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, code: int
) -> None:
    no_pictures(monkeypatch)
    write(tmp_path, "x.npy", WHOLE.astype(np.float32))
    words = ("eval.n_samples=20", "eval.burn_in=4", "eval.n_chains=10", "dataset.path=x.npy", "hydra.run.dir=run")
    ran = ebm("train", "method=sm", *SMALL, *words, f"guard={guard}")
    assert ran.code == code
    assert "column 0 (counted from 0) has" in ran.out
    if code == 3:
        reason = str((read_status(tmp_path / "run") or {})["reason"])
        assert "the objective has no lower bound on these data" in reason
        assert "different whole numbers; set dataset.dequantise=gaussian or dataset.noise_std=0.5" in reason
        assert "rollback" not in ran.out
