"""Energies without a run: where their shape comes from, what counts as an energy, and refusals."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from ebm_cli.errors import UserError
from ebm_cli.runs.energy_alone import energy_alone, require_energy
from ebm_cli.runs.model import Model
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.support import harmonic

HERE = "tests.runs.test_energy_alone"
MIXTURE = {"_target_": "ebm_cli.energies.Mixture", "means": [[0.0] * 3] * 2, "std": 1.0, "weights": [0.5, 0.5]}


class Bowl:
    """A plain class whose instances are functions."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, x: Tensor) -> Tensor:
        return harmonic(x) / self.scale


class Flat(nn.Module):
    """A module with a shape of its own, and without a gradient."""

    shape = (2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x))


class Square:
    """Not an energy: one number a coordinate."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.square()


class Number:
    """No function."""


def model(target: str | dict[str, Any], shape: list[int] | None = None, **keys: Any) -> Model:
    node = target if isinstance(target, dict) else {"_target_": target, **keys}
    return energy_alone(OmegaConf.create(node), shape, 0, "cpu")


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: model(MIXTURE), (3,)),
        (lambda: model("ebm_cli.energies.Quadratic", [4]), (4,)),
        (lambda: model(f"{HERE}.Bowl", [2]), (2,)),
        (lambda: model(f"{HERE}.Flat"), (2, 2)),
        (lambda: model("ebm_cli.datasets.Banana"), (2,)),
    ],
)
def test_shape_follows_from_the_energy_or_is_typed(make: Callable[[], Model], shape: tuple[int, ...]) -> None:
    made = make()
    assert (tuple(made.energy.shape), tuple(made.standardizer.like.shape)) == (shape, shape)
    assert not made.has_data


def test_density_is_an_energy_with_log_z_0() -> None:
    made = model("ebm_cli.datasets.Banana")
    x = torch.randn(5, 2)
    torch.testing.assert_close(made.energy(x), -made.energy.function.log_prob(x))
    assert made.energy.log_z() == 0


def test_function_keeps_its_keys_and_its_gradient() -> None:
    made = model(f"{HERE}.Bowl", [2], scale=2.0)
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    (grad,) = torch.autograd.grad(made.energy(x).sum(), x)
    assert grad.tolist() == [[0.5, 1.0]]
    require_energy(made, MALA())


@pytest.mark.parametrize(
    ("target", "shape", "message"),
    [
        ("ebm_cli.energies.Quadratic", None, r"shape is required: Quadratic is defined .* add shape=\[2\], say"),
        (f"{HERE}.Bowl", None, r"does not say the shape of its points; set shape=\[2\]"),
        (f"{HERE}.Flat", [2], r"has points of shape \[2, 2\]; set shape=\[2, 2\]"),
        (f"{HERE}.Number", [2], "must be a function of points"),
        ("ebm_cli.energies.Tilted", [2], "is fitted to the rows of a data set: train it"),
        ("ebm_cli.energies.Sum", [2], r"is composed of runs: sample them with checkpoint=\[A,B\]"),
    ],
)
def test_energy_that_cannot_stand_alone_is_refused(target: str, shape: list[int] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model(target, shape)


def test_function_that_is_no_energy_is_refused() -> None:
    with pytest.raises(UserError, match=r"energy=Square: must return one number a point, .* got shape \[2, 2\]"):
        require_energy(model(f"{HERE}.Square", [2]), MALA())
    with pytest.raises(UserError, match="energy=Flat: has no gradient in x, which MALA needs"):
        require_energy(model(f"{HERE}.Flat"), MALA())
    require_energy(model(f"{HERE}.Flat"), Metropolis())
    with pytest.raises(UserError, match=r"energy=MLP: fails at points of shape \[2, 3\]"):
        require_energy(Model(model("ebm_cli.energies.MLP", [2]).energy, model(MIXTURE).standardizer, *REST), MALA())


REST: Any = (OmegaConf.create({}), 0, {}, None)
