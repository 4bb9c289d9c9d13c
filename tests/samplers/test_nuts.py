"""The No-U-Turn sampler: exact, with trees that end where a trajectory turns, and a cost that is counted."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.samplers import NUTS, adapt, run
from ebm_cli.samplers import nuts as nuts_module
from ebm_cli.samplers.nuts import Chosen, Point, Tally, Tree, _turns
from ebm_cli.selftest.invariance import harmonic, invariance
from tests.samplers.targets import SIGMAS, TARGETS, Target, deviation_of_variance
from tests.support import normal, seeded


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_nuts_keeps_exact_samples_exact(target: Target) -> None:
    start = target.sample(10_000)
    assert invariance(NUTS(0.8), target.energy, start, target.deviation, seeded(), n_steps=4)[0].holds


@pytest.mark.parametrize("broken", ["weights", "turns"])
def test_control_a_broken_tree_does_not(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points drawn without their weights; a trajectory that ends by its first end alone, which no way back would."""
    if broken == "weights":
        leapfrog = NUTS._leapfrog

        def flat(self: NUTS, *words: object) -> tuple[Point, Tensor, Tensor]:
            point, value, drop = leapfrog(self, *words)  # type: ignore[arg-type]
            return point, value, torch.zeros_like(drop)

        monkeypatch.setattr(NUTS, "_leapfrog", flat)
    else:
        monkeypatch.setattr(NUTS, "_subtree_turns", staticmethod(lambda slots, n, total, v: total[:, 0] > 1.5))
    target = TARGETS[0]
    assert not invariance(NUTS(0.8), target.energy, target.sample(10_000), target.deviation, seeded(), n_steps=4)[
        0
    ].holds


def test_temperature_two_doubles_the_variance() -> None:
    state, _ = run(NUTS(0.7, 2.0), harmonic, math.sqrt(2) * normal(20_000, 1), 4, seeded())
    assert deviation_of_variance(state.x, 2.0) < SIGMAS
    assert deviation_of_variance(state.x, 1.8) > SIGMAS


def leaves_by_recursion(eps: float, v: Tensor, x: Tensor, coins: list[bool], max_depth: int) -> int:
    """Leaves of the tree of one chain on N(0, I), by the recursion of the paper: a subtree, then its halves."""
    left = right = (x, v)
    points = [(x, v)]
    n_leaves = 0

    def leap(x: Tensor, v: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        v = v - 0.5 * eps * x
        x = x + eps * v
        return x, v - 0.5 * eps * x

    def turned(points: list[tuple[Tensor, Tensor]]) -> bool:
        vs = torch.stack([v for _, v in points])
        return bool(_turns(vs.sum(0)[None], vs[:1], vs[-1:])[0])

    def build(at: tuple[Tensor, Tensor], eps: float, depth: int) -> tuple[list[tuple[Tensor, Tensor]], bool]:
        nonlocal n_leaves
        if depth == 0:
            n_leaves += 1
            return [leap(*at, eps)], True
        first, sound = build(at, eps, depth - 1)
        if not sound:
            return first, False
        second, sound = build(first[-1], eps, depth - 1)
        return first + second, sound and not turned(first + second)

    for depth in range(max_depth):
        forwards = coins[depth]
        half, sound = build(right if forwards else left, eps if forwards else -eps, depth)
        if not sound:
            break
        points = points + half if forwards else half[::-1] + points
        left, right = points[0], points[-1]
        if turned(points):
            break
    return n_leaves


def test_trees_are_those_of_the_recursion() -> None:
    kernel, x = NUTS(0.35, max_depth=6), normal(40, 3)
    _, info = kernel.step(harmonic, kernel.init(harmonic, x, seeded()), seeded())
    rng = seeded()
    v = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    coins = torch.rand(3, 6, 40, generator=rng, dtype=x.dtype)[0] < 0.5
    expected = [leaves_by_recursion(0.35, v[i], x[i], coins[:, i].tolist(), 6) for i in range(40)]
    assert info.gradients is not None
    assert info.gradients.tolist() == expected
    assert len(set(expected)) > 3


def test_a_tree_ends_at_its_depth_and_where_it_diverges() -> None:
    straight, _ = run(NUTS(1e-3, max_depth=4), harmonic, normal(8, 2), 1, seeded())
    _, info = run(NUTS(1e-3, max_depth=4), harmonic, normal(8, 2), 1, seeded())
    assert info.gradients is not None
    assert info.gradients.tolist() == [15] * 8
    assert bool(straight.x.isfinite().all())
    start = normal(8, 2)
    state, info = run(NUTS(1e6), harmonic, start, 1, seeded())
    assert info.gradients is not None
    assert info.gradients.tolist() == [1] * 8
    assert torch.equal(state.x, start)
    assert float(info.accept.max()) == 0


def test_gradients_of_one_chain_are_counted() -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return harmonic(x)

    _, info = run(NUTS(0.9, max_depth=3), counted, normal(1, 2), 20, seeded())
    assert info.gradients is not None
    # A tree is left at the end of eight leaves, and its last turn may lie before.
    assert calls == 1 + round(20 * float(info.gradients[0]))


def test_adapt_reaches_the_rate_of_all_leaves() -> None:
    scales = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)
    kernel, state = adapt(NUTS(0.5), lambda x: harmonic(x / scales), scales * normal(20, 5), 100, seeded())
    _, info = run(kernel, lambda x: harmonic(x / scales), state.x, 30, seeded())
    assert float(info.accept.mean()) == pytest.approx(0.85, abs=0.03)


def test_a_doubling_stays_on_its_device() -> None:
    """On torch's meta device, which has no numbers; a step itself reads whether a chain still grows."""
    kernel, x = NUTS(), torch.empty(4, 3, device="meta")
    state = kernel.init(harmonic, x, seeded())
    assert state.energy is not None
    assert state.grad is not None
    at, eps, flags = Point(x, torch.empty_like(x), state.grad), x.new_empty(4, 1), x[:, 0] > 0
    zero = torch.zeros_like(state.energy)
    half, whole, tally = kernel._half(energy=harmonic, origin=(state.energy, at.v), start=at, eps=eps, depth=2,
                                      grows=flags, pick=zero, tally=Tally(zero, zero))  # fmt: skip
    tree = Tree(at, at, at.v, zero, Chosen(x, state.energy, state.grad))
    joined = nuts_module._joined(tree, half, whole, whole & flags, zero)
    assert joined.total.device == tally.leaves.device == x.device


@pytest.mark.parametrize("depth", [0, 21])
def test_a_depth_out_of_range_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"max_depth must be in 1 to 20, got {depth}"):
        replace(NUTS(), max_depth=depth)


def test_burn_in_finds_the_acceptance_that_is_asked_for() -> None:
    found = {}
    for target in (0.7, 0.9):
        kernel, state = adapt(NUTS(0.5, max_depth=4, target_accept=target), harmonic, normal(50, 20), 120, seeded())
        found[target] = kernel.step_size
        assert float(run(kernel, harmonic, state, 10, seeded(1))[1].accept.mean()) == pytest.approx(target, abs=0.03)
    assert found[0.9] < 0.8 * found[0.7]
    with pytest.raises(ValueError, match=r"target_accept must be in \(0, 1\), got 1.0"):
        NUTS(target_accept=1.0)
