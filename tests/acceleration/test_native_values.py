"""Native energies of a training step and their gradient in the weights are torch's; torch does what they decline."""

import copy
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration import attach_native_code
from ebm_cli.acceleration.native_values import NativeEvaluation, NativeValues
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.energies.values import values
from ebm_cli.methods.cd import CD
from ebm_cli.methods.cnce import CNCE
from ebm_cli.methods.ed import ED
from ebm_cli.methods.mle import MLE
from ebm_cli.methods.nce import NCE
from ebm_cli.methods.of_energies import OfEnergies
from ebm_cli.samplers.langevin import Langevin
from tests.acceleration.networks import mlp
from tests.support import seeded

SMOOTH = ("silu", "softplus", "tanh", "gelu")
BOUND = 2e-6
"""The relative error against float64; that of torch in float32 is as large."""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def native(energy: MLP, threads: int = 2) -> MLP:
    assert attach_native_code(energy, threads, has_values=True) is None
    return energy


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(1))


def found(energy: Energy, x: Tensor, function: Callable[[Energy, Tensor], Tensor]) -> list[Tensor]:
    """Energies, and the gradients of a sum of them with random weights of either sign."""
    f = function(energy, x)
    weight = torch.randn(len(x), generator=seeded(2)).to(f.dtype)
    return [f.detach(), *torch.autograd.grad((f * weight).sum(), list(energy.parameters()))]


def error(energy: MLP, x: Tensor) -> float:
    """The largest error of the energies and of a gradient, relative to its largest number."""
    expected = found(copy.deepcopy(energy).double(), x.double(), lambda energy, x: energy(x))
    pairs = zip(found(native(energy), x, values), expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@pytest.mark.parametrize("activation", SMOOTH)
def test_energies_and_gradients_are_exact(activation: str) -> None:
    assert error(mlp(activation=activation), points(75, 3)) < BOUND


@pytest.mark.parametrize(
    ("shape", "n", "settings"),
    [
        ((1,), 1, {"width": 1, "depth": 1}),
        ((2,), 33, {"width": 32, "depth": 2, "base": 1.0}),
        ((33,), 64, {"width": 64, "depth": 1, "base": 0.0}),
        ((3, 4, 4), 31, {"width": 130, "depth": 4}),
        ((2,), 513, {}),
    ],
)
def test_any_size_of_network_and_batch(shape: tuple[int, ...], n: int, settings: dict[str, object]) -> None:
    """Whole strips and blocks of points, one more and one less."""
    assert error(mlp(*shape, **settings), points(n, *shape)) < BOUND


def test_threads_change_no_bit() -> None:
    energy, x = mlp(width=130), points(500, 3)
    first = found(native(energy, 1), x, values)
    for threads in (2, 3, 7):
        assert all(map(torch.equal, found(native(energy, threads), x, values), first))


def test_weights_are_read_at_every_call() -> None:
    energy, x = native(mlp()), points(40, 3)
    before = values(energy, x)
    with torch.no_grad():
        energy.network[0].bias += 0.1
    assert not torch.equal(values(energy, x), before)
    assert torch.allclose(values(energy, x), energy(x), atol=1e-5)


def test_evaluations_do_not_share_memory() -> None:
    """The second begins before the gradient of the first is taken."""
    energy, x, y = native(mlp()), points(40, 3), points(70, 3)
    parameters = list(energy.parameters())
    alone = [torch.autograd.grad(values(energy, at).sum(), parameters) for at in (x, y)]
    first, second = values(energy, x), values(energy, y)
    assert all(map(torch.equal, torch.autograd.grad(second.sum(), parameters), alone[1]))
    assert all(map(torch.equal, torch.autograd.grad(first.sum(), parameters), alone[0]))


def test_gradient_is_taken_once() -> None:
    energy = native(mlp())
    total = values(energy, points(5, 3)).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        total.backward()


def test_points_that_are_not_contiguous() -> None:
    energy = native(mlp())
    x = points(3, 40).T
    assert torch.equal(values(energy, x), values(energy, x.contiguous()))


def test_nan_stays_in_its_row_and_reaches_the_gradient() -> None:
    energy, x = native(mlp()), points(40, 3)
    x[7, 1] = torch.nan
    f = values(energy, x)
    assert torch.equal(f.isnan().nonzero().flatten(), torch.tensor([7]))
    assert torch.autograd.grad(f.sum(), energy.network[0].weight)[0].isnan().any()


def declined() -> dict[str, tuple[Energy, Tensor]]:
    hooked = mlp()
    hooked.network[0].register_forward_hook(lambda module, given, out: 2 * out)
    return {
        "points that are differentiated": (mlp(), points(4, 3).requires_grad_()),
        "float64": (mlp().double(), points(4, 3).double()),
        "other points": (mlp(), points(4, 3).double()),
        "no points": (mlp(), points(0, 3)),
        "hook": (hooked, points(4, 3)),
        "activation": (mlp(activation="relu"), points(4, 3)),
        "energy": (Quadratic((3,)), points(4, 3)),
    }


@pytest.mark.parametrize("case", declined())
def test_torch_does_the_rest(case: str) -> None:
    energy, x = declined()[case]
    assert NativeValues(1).evaluate(energy, x) is None
    if case != "other points":
        energy.native_values = NativeValues(1)
        assert torch.equal(values(energy, x), energy(x))


def test_without_a_gradient_torch_evaluates() -> None:
    energy = native(mlp())
    with torch.no_grad():
        assert torch.equal(values(energy, points(4, 3)), energy(points(4, 3)))


def test_native_values_need_a_thread() -> None:
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        NativeValues(0)


METHODS: dict[str, Callable[[Tensor], OfEnergies | NCE]] = {
    "ed": lambda data: ED(n_perturbations=3),
    "ed, w=0": lambda data: ED(w=0),
    "ed, w=0.3": lambda data: ED(w=0.3, n_perturbations=1),
    "cnce": lambda data: CNCE(n_copies=2),
    "cd": lambda data: CD((2,), Langevin(0.01), Gaussian(data), l2=0.1),
    "mle": lambda data: MLE((2,)),
    "nce": lambda data: NCE(Gaussian(data), nu=2),
}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_objectives_are_torchs(name: str) -> None:
    x = points(50, 2)
    energies = [mlp(2, width=64), native(mlp(2, width=64))]
    # The same chains: those in native code round differently.
    energies[1].native = None
    gradients, found = [], []
    for energy in energies:
        method = METHODS[name](x)
        out = method.loss(energy, x, seeded(3))
        loss = out.loss
        found.append(torch.stack([loss.detach(), *out.metrics.values()]))
        gradients.append(torch.autograd.grad(loss, [p for p in energy.parameters() if p.dim() == 2]))
    for plain, other in zip(*gradients, strict=True):
        assert not torch.equal(plain, other)
        assert float((plain - other).abs().max() / plain.abs().max()) < 1e-4
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_objectives_say_how_many_energies_they_differentiate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, x, counted = native(mlp(2)), points(50, 2), []
    evaluate = NativeValues.evaluate

    def counting(self: NativeValues, energy: Energy, x: Tensor) -> NativeEvaluation | None:
        counted.append(len(x))
        return evaluate(self, energy, x)

    monkeypatch.setattr(NativeValues, "evaluate", counting)
    method = METHODS[name](x)
    method.loss(energy, x, seeded(3))
    assert counted == [method.n_values(len(x))]
