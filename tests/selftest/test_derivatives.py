"""The checks of the derivatives: a wrong rule, a wrong log Z and lost digits fail."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import Differentiable, Jet, Pullback, activations
from ebm_cli.energies import MLP, Energy, Quadratic

SECOND = {"second derivative", "Laplacian", "rules against autograd", "the same in 160 dimensions"}


@pytest.mark.parametrize(
    ("order", "failed"),
    [(None, set()), (1, {"gradient", *SECOND}), (2, SECOND), (3, SECOND - {"second derivative", "Laplacian"})],
)
def test_energy_with_a_wrong_activation_derivative_fails(
    subject: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch, order: int | None, failed: set[str]
) -> None:
    silu = activations.silu

    def wrong(a: Tensor, up_to: int) -> tuple[Tensor, ...]:
        return tuple(value * 1.001 if n == order else value for n, value in enumerate(silu(a, up_to)))

    monkeypatch.setattr(activations, "silu", wrong)
    found = subject("derivatives", "energy", MLP, width=8)
    assert {what for what, outcome in found.items() if outcome == "FAILED"} == failed
    assert len(found) == 7


class Steep(Energy, Differentiable):
    """A quadratic energy with a wrong rule, a wrong log Z, or a loss of digits in float32."""

    def __init__(self, shape: tuple[int, ...], mistake: str = "") -> None:
        super().__init__()
        self.shape, self.mistake, self.right = shape, mistake, Quadratic(shape)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.right(x)
        return value

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        out, back = self.right.sweep(jet)
        factor = 1.01 if self.mistake == "second derivative" and out.second is not None else 1.0
        second = None if out.second is None else factor * out.second
        coarse = self.mistake == "float32" and out.value.dtype is torch.float32
        return Jet(out.value.bfloat16().float() if coarse else out.value, out.first, second), back

    def log_z(self) -> Tensor | None:
        log_z = self.right.log_z()
        return log_z if log_z is None or self.mistake != "log Z" else log_z + 0.01


@pytest.mark.parametrize("mistake", ["", "second derivative", "log Z", "float32"])
def test_energy_with_a_mistake_fails_that_fact(subject: Callable[..., dict[str, str]], mistake: str) -> None:
    found = subject("derivatives", "energy", Steep, mistake=mistake)
    assert ({mistake} if mistake else set()) <= {what for what, outcome in found.items() if outcome == "FAILED"}
    assert mistake or set(found.values()) == {"ok"}
    assert found["gradient"] == "ok"


class ImageEnergy(Energy):
    """Accepts only images, and has no rules."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"shape must be channels, height and width, got {shape}")
        self.shape, self.weight = shape, torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * torch.nn.functional.avg_pool2d(x, 2).square().flatten(1).sum(1)


def test_energy_of_images_is_checked_on_images(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("derivatives", "energy", ImageEnergy)
    assert found.pop("rules against autograd") == "skipped"
    assert found == dict.fromkeys(("gradient", "second derivative", "Laplacian", "float32"), "ok")
