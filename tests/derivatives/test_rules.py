"""Layer rules equal autograd: values, gradients, second derivatives and Laplacians, all in the parameters, too."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ebm_cli.derivatives import Jet, Pullback, laplacian, prepare, sliced_terms, supports, sweep, value_and_grad
from ebm_cli.energies import MLP, Conv, Energy, NetworkEnergy, Quadratic, Residual, ResidualMLP, ResNet
from ebm_cli.energies.activations import ACTIVATIONS
from tests.support import assert_same_derivatives, autograd_only

SHAPES = [(1,), (2,), (5,), (40,), (1, 3, 4)]


SMOOTH = ["silu", "softplus", "tanh", "gelu"]


def build(kind: str, shape: tuple[int, ...], activation: str) -> Energy:
    torch.manual_seed(0)
    if kind == "quadratic":
        energy: Energy = Quadratic(shape)
        for p in energy.parameters():
            nn.init.normal_(p)
    elif kind == "residual":
        energy = ResidualMLP(shape, width=16, depth=2, activation=activation)  # type: ignore[arg-type]
    else:
        energy = MLP(shape, width=16, depth=int(kind[-1]), activation=activation, base=0.3)  # type: ignore[arg-type]
    return energy.double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("kind", ["mlp1", "mlp3", "residual", "quadratic"])
def test_rules_equal_autograd(kind: str, activation: str, shape: tuple[int, ...]) -> None:
    energy = build(kind, shape, activation)
    opaque = autograd_only(energy)
    assert supports(energy)
    assert not supports(opaque)
    assert_same_derivatives(energy, opaque, torch.randn(7, *shape).double(), torch.randn(3, 7, *shape).double())


def random_network(seed: int) -> NetworkEnergy:
    """A small network of all kinds of layers that have a rule, with random settings, in float64."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    activation = ACTIVATIONS[draw.choice(SMOOTH)]  # type: ignore[index]
    channels, sides = draw.choice([1, 2, 3]), (draw.randint(4, 6), draw.randint(4, 6))
    shape = (channels, *sides)
    layers: list[nn.Module] = [nn.Unflatten(1, shape)]
    for i in range(draw.randint(1, 3)):
        groups = draw.choice([1, channels])
        kernel = (draw.randint(1, 3), draw.randint(1, 3))
        dilation = draw.randint(1, 2)
        conv = nn.Conv2d(
            channels,
            2 * channels if i == 0 else channels,
            kernel,
            stride=(draw.randint(1, 3), draw.randint(1, 2)),
            padding=(dilation, draw.randint(1, 2)),
            dilation=dilation,
            groups=groups,
            bias=draw.random() < 0.8,
        )
        channels = conv.out_channels
        layers += [spectral_norm(conv) if draw.random() < 0.3 else conv, activation()]
        if draw.random() < 0.5:
            inner = nn.Conv2d(channels, channels, 3, padding=1)
            layers.append(Residual(nn.Sequential(inner, activation(), nn.Conv2d(channels, channels, 1))))
        if draw.random() < 0.4:
            layers.append(nn.AvgPool2d(2, stride=draw.choice([1, 2]), padding=draw.choice([0, 1]), ceil_mode=True))
    features = nn.Sequential(*layers, nn.Flatten())
    width = features(torch.zeros(1, shape[0] * shape[1] * shape[2])).shape[1]
    head: nn.Module = nn.Linear(width, 4)
    head = spectral_norm(head) if draw.random() < 0.3 else head
    network = nn.Sequential(*features, head, activation(), nn.Linear(4, 1))
    return NetworkEnergy(shape, network, draw.choice([0.0, 0.4])).double().eval()


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_equal_autograd(seed: int) -> None:
    energy = random_network(seed)
    assert supports(energy)
    x, v = torch.randn(3, *energy.shape).double(), torch.randn(2, 3, *energy.shape).double()
    assert_same_derivatives(energy, autograd_only(energy), x, v)


def random_flat_network(seed: int) -> NetworkEnergy:
    """A fully connected network in float64: any width, with bias or without, residual blocks, nested blocks."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    size = draw.choice([1, 2, 7, 12, 20, 33])
    width, layers = size, list[nn.Module]()

    def linear(n_in: int, n_out: int) -> nn.Module:
        made = nn.Linear(n_in, n_out, bias=draw.random() < 0.7)
        return spectral_norm(made) if draw.random() < 0.3 else made

    def sigma() -> nn.Module:
        return ACTIVATIONS[draw.choice(SMOOTH)]()  # type: ignore[index]

    for _ in range(draw.randint(1, 4)):
        n_out = draw.choice([3, 9, 15, 16, 25])
        layers += [linear(width, n_out), sigma()] if draw.random() < 0.8 else [linear(width, n_out)]
        width = n_out
        if draw.random() < 0.4:
            block = nn.Sequential(linear(width, 11), sigma(), linear(11, width))
            layers.append(nn.Sequential(Residual(block), sigma()) if draw.random() < 0.5 else Residual(block))
    network = nn.Sequential(*layers, linear(width, 1))
    return NetworkEnergy((size,), network, draw.choice([0.0, 0.4])).double().eval()


@pytest.mark.parametrize("seed", range(24))
def test_random_flat_networks_equal_autograd(seed: int) -> None:
    energy = random_flat_network(seed)
    opaque = autograd_only(energy)
    x, v = torch.randn(5, *energy.shape).double(), torch.randn(2, 5, *energy.shape).double()
    assert supports(energy)
    assert_same_derivatives(energy, opaque, x, v)
    for exact_square in (False, True):
        by_rules, by_autograd = (sliced_terms(f, x, v, exact_square=exact_square) for f in (energy, opaque))
        for a, b in zip(by_rules, by_autograd, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(24))
def test_random_flat_networks_agree_in_float32(seed: int) -> None:
    energy = random_flat_network(seed)
    x = torch.randn(50, *energy.shape)
    exact = (*value_and_grad(energy, x.double()), *laplacian(energy, x.double()))
    energy.float()
    for a, b in zip((*value_and_grad(energy, x), *laplacian(energy, x)), exact, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_pullback_takes_one_cotangent_for_all_points() -> None:
    """[1, *n] for the whole batch gives what [B, *n] gives."""
    for seed in range(6):
        for energy in (random_network(seed), random_flat_network(seed)):
            x = torch.randn(3, *energy.shape).double()
            shared, each = (sweep(energy, Jet(x))[1](torch.full((n,), 0.7).double()) for n in (1, 3))
            torch.testing.assert_close(shared, each, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_pullback_of_a_strided_convolution_equals_autograd(padding: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, stride=stride, padding=padding)
    network = nn.Sequential(nn.Unflatten(1, (1, 6, 5)), conv, nn.Tanh(), nn.Flatten(), nn.LazyLinear(1))
    network(torch.zeros(1, 30))
    energy = NetworkEnergy((1, 6, 5), network, 0.1).double().eval()
    x, v = torch.randn(3, 1, 6, 5).double(), torch.randn(2, 3, 1, 6, 5).double()
    assert_same_derivatives(energy, autograd_only(energy), x, v)


def test_random_networks_have_every_kind_of_layer() -> None:
    modules = [m for seed in range(24) for m in random_network(seed).modules()]
    kinds = {type(m).__name__ for m in modules}
    assert kinds >= {"Conv2d", "ParametrizedConv2d", "Linear", "ParametrizedLinear", "AvgPool2d", "Residual"}
    assert kinds >= {"SiLU", "Softplus", "Tanh", "GELU", "Flatten", "Unflatten"}
    convs = [m for m in modules if isinstance(m, nn.Conv2d)]
    for setting in ("groups", "stride", "dilation", "padding", "kernel_size"):
        assert len({getattr(m, setting) for m in convs}) > 1


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("cls", [Conv, ResNet])
def test_image_energies_equal_autograd(cls: type[Conv] | type[ResNet], bound: bool) -> None:
    torch.manual_seed(0)
    energy = cls((2, 5, 3), width=4, depth=2, spectral_norm=bound).double().eval()
    assert supports(energy)
    x, v = torch.randn(3, 2, 5, 3).double(), torch.randn(2, 3, 2, 5, 3).double()
    assert_same_derivatives(energy, autograd_only(energy), x, v)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(1, 2, 3, padding="same"),
        nn.Flatten(2),
        nn.Unflatten(2, (1, 4)),
    ],
    ids=["circular", "same", "flatten", "unflatten"],
)
def test_layer_with_other_settings_has_no_rule(layer: nn.Module) -> None:
    assert not supports(layer)
    assert supports(nn.Conv2d(1, 2, 3, padding=1))


def test_hooked_layer_has_no_rule() -> None:
    energy = MLP((2,), width=4)
    energy.network[0].register_forward_hook(lambda m, i, out: out * 2)
    assert not supports(energy)
    x = torch.randn(3, 2)
    value, grad = value_and_grad(energy, x)
    torch.testing.assert_close(value, energy(x))
    x.requires_grad_(True)
    torch.testing.assert_close(grad, torch.autograd.grad(energy(x).sum(), x)[0])


def test_layer_without_a_rule_goes_through_autograd() -> None:
    energy = NetworkEnergy((3,), nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 1)), 0.1).double()
    assert not supports(energy)
    x = torch.randn(4, 3).double()
    grad, trace = laplacian(energy, x)
    hessians = [torch.autograd.functional.hessian(lambda p: energy(p[None]).squeeze(0), row) for row in x]
    torch.testing.assert_close(trace, torch.stack([h.trace() for h in hessians]))
    torch.testing.assert_close(grad, value_and_grad(energy, x)[1])


def test_overridden_sweep_is_used_by_chains_too() -> None:
    class Double(MLP):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

        def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
            out, through = super().sweep(jet)
            return out._replace(value=2 * out.value), lambda g: 2 * through(g)

    class Twice:
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)  # type: ignore[misc]

        def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
            out, through = super().sweep(jet)  # type: ignore[misc]
            return out._replace(value=2 * out.value), lambda g: 2 * through(g)

    class Mixed(Twice, MLP):
        """An energy that inherits its sweep from a class that is none."""

    for cls in (Double, Mixed):
        torch.manual_seed(0)
        energy, x = cls((3,), width=8).double(), torch.randn(4, 3).double()
        truth = value_and_grad(autograd_only(energy), x)
        for f in (energy, prepare(energy)):
            for a, b in zip(value_and_grad(f, x), truth, strict=True):
                torch.testing.assert_close(a, b)
