"""Seeded mistakes of a sign or a factor: each one fails `ebm check`, and the sound package passes."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ebm_cli import derivatives
from ebm_cli.energies import ICA, Mixture, Quadratic, Sum
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods import CD, CNCE, DSM, ED, FCE, MLE, NCE, SM, LossOutput, Method, fce, nce, sm, ssm
from ebm_cli.methods import cd as cd_module
from ebm_cli.optim.flat import Flat
from ebm_cli.samplers import hmc, langevin, mala, metropolis, tempering, underdamped
from ebm_cli.selftest import Harness, Row
from ebm_cli.selftest.derivatives import derivative_checks
from ebm_cli.selftest.harness import measure_check
from ebm_cli.selftest.methods import method_checks
from ebm_cli.selftest.optimizers import optimizer_checks
from ebm_cli.selftest.samplers import sampler_checks
from tests.support import REPO

CHECKS = {
    "method": method_checks,
    "energy": derivative_checks,
    "sampler": sampler_checks,
    "optimizer": optimizer_checks,
}


@cache
def _config(words: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", list(words))


def rows(group: str, name: str, *settings: str) -> list[Row]:
    """The rows of one option, with these words beside it."""

    def composed(words: Sequence[str]) -> DictConfig:
        return _config((*words, *settings))

    harness = Harness(composed, [REPO / "conf"], 0, [torch.device("cpu")])
    checks = [check for check in CHECKS[group](harness) if check.name == name]
    # The steps of a run say nothing of values, and take longer.
    return [row for check in checks[:1] for row in measure_check(check)]


def scaled_loss(cls: type[Method], factor: float) -> Callable[..., LossOutput]:
    """The loss of a method, times a factor."""
    sound = cls.loss

    def loss(self: Method, *args: torch.Tensor) -> LossOutput:
        out = sound(self, *args)  # type: ignore[arg-type]
        return LossOutput(factor * out.loss, out.metrics, out.player, out.evaluations)

    return loss


def patched(monkeypatch: pytest.MonkeyPatch, where: object, name: str, change: Callable[..., object]) -> None:
    """Replace a function by `change(function, *args)`."""
    sound = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *args, **kwargs: change(sound, *args, **kwargs))


def curvature(sign: float) -> Callable[..., object]:
    """Terms of score matching whose trace has another factor."""

    def change(sound: Callable[..., derivatives.ScoreTerms], *args: object, **kwargs: object) -> object:
        terms = sound(*args, **kwargs)
        return terms._replace(objective=terms.objective + (1 - sign) * terms.curvature)

    return change


def negative_log_z(sound: Callable[..., LossOutput], method: NCE, *args: torch.Tensor) -> LossOutput:
    """The loss of nce with log Z on the other side."""
    with torch.no_grad():
        method.log_z.neg_()
        out = sound(method, *args)
        method.log_z.neg_()
    return out


MISTAKES: dict[str, tuple[str, str, Callable[[pytest.MonkeyPatch], None]]] = {
    "trace of sm, sign": ("method", "sm", lambda m: patched(m, sm, "exact_terms", curvature(-1.0))),
    "trace of ssm, factor": ("method", "ssm", lambda m: patched(m, ssm, "sliced_terms", curvature(0.5))),
    "directions of ssm, factor": (
        "method",
        "ssm",
        lambda m: m.setitem(ssm.DRAW, "gaussian", lambda *a: 1.4 * ssm._gaussian(*a)),
    ),
    "dsm, factor": ("method", "dsm", lambda m: m.setattr(DSM, "loss", scaled_loss(DSM, 2.0))),
    "dsm, sign": ("method", "dsm", lambda m: m.setattr(DSM, "loss", scaled_loss(DSM, -1.0))),
    "nce, classes": (
        "method",
        "nce",
        lambda m: patched(m, nce, "classify", lambda f, data, noise, nu: f(-data, -noise, nu)),
    ),
    "nce, nu": ("method", "nce", lambda m: patched(m, nce, "classify", lambda f, data, noise, nu: f(data, noise, 1.0))),
    "nce, log Z": (
        "method",
        "nce",
        lambda m: patched(m, NCE, "loss", negative_log_z),
    ),
    "ed, sign": ("method", "ed", lambda m: m.setattr(ED, "loss", scaled_loss(ED, -1.0))),
    "cnce, factor": ("method", "cnce", lambda m: m.setattr(CNCE, "loss", scaled_loss(CNCE, 0.5))),
    "fce, classes": (
        "method",
        "fce",
        lambda m: patched(m, fce, "classify", lambda f, data, noise, nu: f(-data, -noise, nu)),
    ),
    "fce, factor": ("method", "fce", lambda m: m.setattr(FCE, "loss", scaled_loss(FCE, 0.5))),
    "cd, sign": ("method", "cd", lambda m: m.setattr(CD, "loss", scaled_loss(CD, -1.0))),
    "pcd, sign": ("method", "pcd", lambda m: m.setattr(CD, "loss", scaled_loss(CD, -1.0))),
    "divergence of cd, sign": (
        "method",
        "cd",
        lambda m: patched(m, cd_module, "chain_divergence", lambda f, *args: -f(*args)),
    ),
    "mle, factor": ("method", "mle", lambda m: m.setattr(MLE, "loss", scaled_loss(MLE, 0.5))),
    "grid of mle": (
        "method",
        "mle",
        lambda m: patched(m, MLE, "_nodes", lambda f, *args: (f(*args)[0], -f(*args)[1])),
    ),
    "noise of langevin": ("sampler", "langevin", lambda m: m.setattr(langevin, "sqrt", lambda v: math.sqrt(v / 2))),
    "heat of underdamped": (
        "sampler",
        "underdamped",
        lambda m: m.setattr(underdamped, "expm1", lambda v: 2 * math.expm1(v)),
    ),
    "test of mala": (
        "sampler",
        "mala",
        lambda m: patched(m, mala, "accept_reject", lambda f, s, p, r, g: f(s, p, -r, g)),
    ),
    "test of hmc": ("sampler", "hmc", lambda m: patched(m, hmc, "accept_reject", lambda f, s, p, r, g: f(s, p, -r, g))),
    "test of metropolis": (
        "sampler",
        "metropolis",
        lambda m: patched(m, metropolis, "accept_reject", lambda f, s, p, r, g: f(s, p, 0.5 * r, g)),
    ),
    "exchanges of tempering, transposed": (
        "sampler",
        "tempering",
        lambda m: patched(m, tempering, "exchange_rates", lambda f, energy, betas: f(-energy, betas)),
    ),
    "quadratic, factor": ("energy", "quadratic", lambda m: patched(m, Quadratic, "forward", lambda f, *a: 2 * f(*a))),
    "ica, sign": ("energy", "ica", lambda m: patched(m, ICA, "forward", lambda f, *a: -f(*a))),
    "log Z of ica, sign": ("energy", "ica", lambda m: patched(m, ICA, "log_z", lambda f, *a: -f(*a))),
    "mixture, factor": ("energy", "mixture", lambda m: patched(m, Mixture, "_log_terms", lambda f, *a: 1.1 * f(*a))),
    "base of mlp": (
        "energy",
        "mlp",
        lambda m: patched(
            m, NetworkEnergy, "forward", lambda f, self, x: f(self, x) + 0.5 * self.base * x.square().sum(1)
        ),
    ),
    "adam, sign": ("optimizer", "adam", lambda m: patched(m, Flat, "backward", lambda f, self, loss: f(self, -loss))),
    "sum, sign": ("energy", "sum of two", lambda m: patched(m, Sum, "_combine", lambda f, *a: (-f(*a)[0], f(*a)[1]))),
}


QUICK = (
    "trace of sm, sign",
    "dsm, factor",
    "nce, classes",
    "nce, nu",
    "mle, factor",
    "base of mlp",
    "sum, sign",
    "adam, sign",
)
"""Mistakes whose check takes a fraction of a second."""


@pytest.mark.parametrize("mistake", [pytest.param(m, marks=() if m in QUICK else pytest.mark.slow) for m in MISTAKES])
def test_a_seeded_mistake_fails_the_check(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    group, name, make = MISTAKES[mistake]
    make(monkeypatch)
    found = rows(group, name)
    assert any(row.outcome == "FAILED" and row.number is not None for row in found), found


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), sorted({(group, name) for group, name, _ in MISTAKES.values()}))
def test_control_the_sound_package_passes(group: str, name: str) -> None:
    found = rows(group, name)
    assert found
    assert {row.outcome for row in found} <= {"ok", "skipped"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sm", ["method.whiten=true"]),
        ("ssm", ["method.whiten=true"]),
        pytest.param("cd", ["method.l2=0.1", "method.kl=0.5"], marks=pytest.mark.slow),
    ],
)
def test_control_other_settings_of_a_method_pass(name: str, settings: list[str]) -> None:
    assert {row.outcome for row in rows("method", name, *settings)} == {"ok"}


class Doubled(SM):  # type: ignore[misc]
    """Twice score matching: another objective, of which no value is known."""

    def loss(self, *args: Any) -> LossOutput:
        out = super().loss(*args)
        return LossOutput(2 * out.loss, out.metrics, out.player, out.evaluations)


def test_objective_of_a_derived_class_is_not_known() -> None:
    (row,) = rows("method", "sm", f"method._target_={__name__}.{Doubled.__name__}")
    assert row.outcome == "skipped"
    assert "no value of Doubled is known" in row.reason
