"""Layer rules equal autograd: values, gradients, second derivatives, Laplacians, all in the parameters too."""

import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ebm_cli.derivatives import (
    Compiled,
    Jet,
    Linear,
    Pullback,
    detached_gradient,
    directional,
    first_order,
    gradient,
    laplacian,
    matmul,
    prepare,
    sliced_terms,
    supports,
    sweep,
    value_and_grad,
)
from ebm_cli.derivatives.activations import derivatives_of
from ebm_cli.energies import MLP, Conv, Energy, NetworkEnergy, Quadratic, Residual, ResidualMLP, ResNet
from ebm_cli.energies.activations import ACTIVATIONS
from ebm_cli.samplers import Info, Kernel, State, run
from ebm_cli.samplers.langevin import Langevin

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


def autograd_only(energy: Energy) -> nn.Module:
    """The same function behind a type that no rule knows."""

    class Opaque(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = energy(x)
            return out

    return Opaque()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("kind", ["mlp1", "mlp3", "residual", "quadratic"])
def test_rules_equal_autograd(kind: str, activation: str, shape: tuple[int, ...]) -> None:
    energy = build(kind, shape, activation)
    opaque = autograd_only(energy)
    assert supports(energy)
    assert not supports(opaque)
    assert_same_derivatives(energy, opaque, torch.randn(7, *shape).double(), torch.randn(3, 7, *shape).double())


def assert_same_derivatives(energy: Energy, opaque: nn.Module, x: Tensor, v: Tensor) -> None:
    """Value, gradient, directional derivatives and Laplacian, and the gradient of them all in the parameters."""
    for a, b in zip(value_and_grad(energy, x), value_and_grad(opaque, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert_prepared_is_the_same(energy, x)
    found = []
    for f in (energy, opaque):
        (slopes, curvature), shared = directional(f, x, v, with_gradient=True)
        grad, trace = laplacian(f, x)
        assert shared is not None
        outputs = (slopes, curvature, shared, grad, trace, gradient(f, x))
        # A random cotangent for every output: together they check every backward rule.
        g = torch.Generator().manual_seed(1)
        cotangents = [torch.randn(out.shape, generator=g, dtype=out.dtype) for out in outputs]
        loss = torch.stack([(out * c).sum() for out, c in zip(outputs, cotangents, strict=True)]).sum()
        parameters = torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True)
        found.append([*outputs, *(torch.zeros(1).double() if p is None else p for p in parameters)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a.expand_as(b), b.expand_as(a), rtol=1e-9, atol=1e-10)


def assert_prepared_is_the_same(energy: Energy, x: Tensor) -> None:
    """Bit for bit, also the gradient alone, and as often as it is asked."""
    held = prepare(energy)
    assert held is not energy
    value, grad = value_and_grad(energy, x)
    for _ in range(2):
        for a, b in zip(value_and_grad(held, x), (value, grad), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(detached_gradient(held, x), grad)
    assert torch.equal(detached_gradient(energy, x), grad)
    torch.testing.assert_close(held(x), value)


def random_network(seed: int) -> NetworkEnergy:
    """A small network of every kind of layer that has a rule, its settings drawn at random, in float64."""
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
    """Fully connected: layers of any width, with a bias or without, skips, blocks in blocks, in float64."""
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


def test_the_way_back_takes_one_cotangent_for_all() -> None:
    """[1, *n] for the whole batch gives what [B, *n] gives."""
    for seed in range(6):
        for energy in (random_network(seed), random_flat_network(seed)):
            x = torch.randn(3, *energy.shape).double()
            shared, each = (sweep(energy, Jet(x))[1](torch.full((n,), 0.7).double()) for n in (1, 3))
            torch.testing.assert_close(shared, each, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_the_way_back_through_a_stride_skips_the_far_edge(padding: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, stride=stride, padding=padding)
    network = nn.Sequential(nn.Unflatten(1, (1, 6, 5)), conv, nn.Tanh(), nn.Flatten(), nn.LazyLinear(1))
    network(torch.zeros(1, 30))
    energy = NetworkEnergy((1, 6, 5), network, 0.1).double().eval()
    x, v = torch.randn(3, 1, 6, 5).double(), torch.randn(2, 3, 1, 6, 5).double()
    assert_same_derivatives(energy, autograd_only(energy), x, v)


def test_the_random_networks_hold_every_kind_of_layer() -> None:
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
def test_a_layer_set_up_differently_has_no_rule(layer: nn.Module) -> None:
    assert not supports(layer)
    assert supports(nn.Conv2d(1, 2, 3, padding=1))


@pytest.mark.parametrize("kind", ["mlp", "conv", "resnet"])
def test_float32_agrees_to_1e_5(kind: str) -> None:
    torch.manual_seed(0)
    shape = (10,) if kind == "mlp" else (1, 6, 6)
    energy: Energy = MLP(shape, width=64) if kind == "mlp" else {"conv": Conv, "resnet": ResNet}[kind](shape, width=8)
    x = torch.randn(50, *shape)
    grad, trace = laplacian(energy, x)
    grad64, trace64 = laplacian(energy.double(), x.double())
    assert (grad - grad64).norm() / grad64.norm() < 1e-5
    assert (trace - trace64).norm() / trace64.norm() < 1e-5


@pytest.mark.parametrize("n_in", [1, 2, 15, 16])
@pytest.mark.parametrize("n_out", [1, 8, 15, 16, 32])
def test_a_layer_of_any_width_is_a_linear_one(n_in: int, n_out: int) -> None:
    layer, plain = Linear(n_in, n_out).double(), nn.Linear(n_in, n_out).double()
    plain.load_state_dict(layer.state_dict())
    x, g = torch.randn(9, n_in, dtype=torch.float64), torch.randn(9, n_out, dtype=torch.float64)
    for points in (x, x.requires_grad_(), x.view(3, 3, n_in), x[0]):
        torch.testing.assert_close(layer(points), plain(points), rtol=1e-13, atol=1e-13)
        for weight in (layer.weight, layer.weight.t().contiguous().t()):
            free = F.linear(points, weight)
            torch.testing.assert_close(matmul.product(points, weight), free, rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad((layer(x) * g).sum(), [x, layer.weight, layer.bias])
    truth = torch.autograd.grad((plain(x) * g).sum(), [x, plain.weight, plain.bias])
    torch.testing.assert_close(found, truth, rtol=1e-13, atol=1e-13)


def test_narrow_first_layer_keeps_the_trace_exact_even_when_it_is_rank_deficient() -> None:
    torch.manual_seed(0)
    energy = MLP((30,), width=8, base=0.5).double()
    first = energy.network[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight[3] = first.weight[2]
    assert energy.row_space() is not None
    x = torch.randn(5, 30).double()
    _, trace = laplacian(energy, x)
    _, full = laplacian(autograd_only(energy), x)
    torch.testing.assert_close(trace, full, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Softplus(), nn.Tanh(), nn.GELU()], ids=lambda m: type(m).__name__)
def test_towers_are_the_derivatives_of_the_activation(activation: nn.Module) -> None:
    a = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    tower = derivatives_of(activation)
    assert tower is not None
    value = activation(a)
    for order in range(4):
        torch.testing.assert_close(tower(a, 3)[order], value, rtol=1e-9, atol=1e-10)
        assert len(tower(a, order)) == order + 1
        (value,) = torch.autograd.grad(value.sum(), a, create_graph=True)


def test_an_activation_set_up_differently_has_no_rule() -> None:
    assert derivatives_of(nn.Softplus(beta=2)) is None
    assert derivatives_of(nn.GELU(approximate="tanh")) is None
    assert derivatives_of(nn.ReLU()) is None


def test_a_hook_takes_the_rules_away() -> None:
    energy = MLP((2,), width=4)
    energy.network[0].register_forward_hook(lambda m, i, out: out * 2)
    assert not supports(energy)
    x = torch.randn(3, 2)
    value, grad = value_and_grad(energy, x)
    torch.testing.assert_close(value, energy(x))
    x.requires_grad_(True)
    torch.testing.assert_close(grad, torch.autograd.grad(energy(x).sum(), x)[0])


def test_a_layer_without_a_rule_falls_back() -> None:
    energy = NetworkEnergy((3,), nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 1)), 0.1).double()
    assert not supports(energy)
    x = torch.randn(4, 3).double()
    grad, trace = laplacian(energy, x)
    hessians = [torch.autograd.functional.hessian(lambda p: energy(p[None]).squeeze(0), row) for row in x]
    torch.testing.assert_close(trace, torch.stack([h.trace() for h in hessians]))
    torch.testing.assert_close(grad, value_and_grad(energy, x)[1])


def test_value_and_grad_leaves_no_graph() -> None:
    energy = MLP((2,), width=4)
    value, grad = value_and_grad(energy, torch.randn(3, 2, requires_grad=True))
    assert not value.requires_grad
    assert not grad.requires_grad


def test_what_is_not_prepared() -> None:
    """Without rules, with weights that move whenever they are read, compiled, and no module at all."""
    energy = MLP((2,), width=8)
    assert prepare(energy) is not energy
    weights = spectral_norm(nn.Linear(2, 8))
    bound = NetworkEnergy((2,), nn.Sequential(weights, nn.Tanh(), nn.Linear(8, 1)), 0.1)
    assert prepare(bound) is bound
    assert prepare(bound.eval()) is not bound
    opaque = autograd_only(energy)
    assert prepare(opaque) is opaque
    assert prepare(torch.sum) is torch.sum
    held = prepare(energy)
    assert prepare(held) is held
    energy.compiled = Compiled(4, torch.float32, torch.device("cpu"), print)
    assert prepare(energy) is energy


@pytest.mark.parametrize("size", [2, 20])
def test_a_chain_takes_the_weights_of_its_own_start(size: int) -> None:
    energy, start = MLP((size,), width=20).double(), torch.randn(3, size).double()
    ends = []
    for _ in range(2):
        found = run(Langevin(0.1, noise_scale=0.0), energy, start, 1, torch.Generator())[0].x
        torch.testing.assert_close(found, start - 0.1 * value_and_grad(energy, start)[1])
        ends.append(found)
        with torch.no_grad():
            for p in energy.parameters():
                p.copy_(2 * p)
    assert not torch.equal(*ends)


def test_what_was_prepared_is_differentiated_like_itself() -> None:
    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    held, v = prepare(energy), torch.randn(2, 4, 3).double()
    (weight,) = torch.autograd.grad(gradient(held, x).sum(), [energy.network[0].weight])
    assert weight.any()
    assert torch.equal(laplacian(held, x)[1], laplacian(energy, x)[1])
    for a, b in zip(directional(held, x, v)[0], directional(energy, x, v)[0], strict=True):
        assert torch.equal(a, b)


def test_a_rule_that_is_written_anew_is_the_one_of_chains_too() -> None:
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
        """From a class that is no energy itself."""

    for cls in (Double, Mixed):
        torch.manual_seed(0)
        energy, x = cls((3,), width=8).double(), torch.randn(4, 3).double()
        truth = value_and_grad(autograd_only(energy), x)
        for f in (energy, prepare(energy)):
            for a, b in zip(value_and_grad(f, x), truth, strict=True):
                torch.testing.assert_close(a, b)


def test_a_kernel_of_somebody_else_may_differentiate_by_itself() -> None:
    @dataclass(frozen=True)
    class Descent(Kernel):
        def init(self, energy: Any, x: Tensor, rng: torch.Generator) -> State:
            return State(x, None, None, {})

        def step(self, energy: Any, state: State, rng: torch.Generator) -> tuple[State, Info]:
            x = state.x.requires_grad_()
            (grad,) = torch.autograd.grad(energy(x).sum(), x)
            return State((x - self.step_size * grad).detach(), None, None, {}), Info(x.new_ones(len(x)).detach())

    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    expected = run(Langevin(0.1, noise_scale=0.0), energy, x, 3, torch.Generator())[0].x
    found = run(Descent(0.1), energy, x, 3, torch.Generator())[0].x
    torch.testing.assert_close(found, expected)


def test_the_gradient_alone_of_a_function_without_rules() -> None:
    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    expected = value_and_grad(energy, x)[1]
    torch.testing.assert_close(detached_gradient(autograd_only(energy), x), expected)
    torch.testing.assert_close(detached_gradient(lambda y: energy(y), x), expected)


def test_many_points_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = build("mlp3", (2,), "silu")
    n, chunk = first_order.MAX_ROWS + 3, first_order.CHUNK_ROWS
    x = torch.randn(n, 2).double()
    whole = [torch.cat(parts) for parts in zip(*(value_and_grad(energy, rows) for rows in x.split(1000)), strict=True)]
    seen: list[int] = []
    by_rules = first_order._value_and_grad_by_rules
    monkeypatch.setattr(
        first_order, "_value_and_grad_by_rules", lambda f, rows: (seen.append(len(rows)), by_rules(f, rows))[1]
    )
    torch.testing.assert_close(value_and_grad(energy, x), tuple(whole), rtol=1e-13, atol=1e-13)
    assert seen == [chunk, chunk, 3]
    # A weight that moves whenever it is read is read once.
    bound = NetworkEnergy((2,), nn.Sequential(spectral_norm(nn.Linear(2, 8)), nn.Tanh(), nn.Linear(8, 1)), 0.1).double()
    seen.clear()
    value_and_grad(bound, x)
    value_and_grad(bound.eval(), x)
    assert seen == [n, chunk, chunk, 3]
