"""Features in which every component of a mixture has the same scale."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Reference
from ebm_cli.energies.local_features import REACH, LocalFeatures, local_features
from tests.support import normal, seeded


def rows(n: int = 600) -> Tensor:
    """Two modes whose sizes differ by a factor of 10."""
    x = torch.randn(n, 2, generator=seeded())
    return torch.where(torch.arange(n).unsqueeze(1) % 3 == 0, 0.1 * x + 4, x).double()


@pytest.mark.parametrize("marginals", ["none", "sinh_arcsinh"])
def test_features_have_the_scale_of_each_component(marginals: str) -> None:
    """In a component's own units, a point of any mode looks alike: T is smooth, so only about so with it."""
    reference = Reference(rows(), family="mixture", marginals=marginals).double()  # type: ignore[arg-type]
    features = local_features(reference.locate(rows()))
    for mode in (rows()[:, 0] > 3, rows()[:, 0] < 3):
        std = features[mode][:, :2].std(0)
        assert (std > 0.7).all()
        assert (std < 1.3).all()


def test_features_of_a_gaussian_are_whitened_coordinates() -> None:
    reference = Reference(rows(), family="gaussian", marginals="none").double()
    x = rows(5)
    z = reference.mixture.whitened(x)[:, 0]
    expected = torch.cat(
        (REACH * (z / REACH).tanh(), REACH * ((z.square().mean(1).log1p()) / REACH).tanh().unsqueeze(1)), 1
    )
    torch.testing.assert_close(local_features(reference.locate(x)), expected)


def test_features_are_bounded() -> None:
    features = local_features(Reference(rows(), family="mixture").locate(1e8 * normal(50, 2)))
    assert features.abs().max() <= REACH


def cases() -> Iterator[Any]:
    """All; at once every family and marginal for curved points, and one of them for each kind of points."""
    for family, marginals, bent, shared in product(
        ("gaussian", "mixture", "student"), ("none", "sinh_arcsinh", "spline"), (False, True), (False, True)
    ):
        quick = (bent and not shared) or (family, marginals) == ("mixture", "sinh_arcsinh")
        yield pytest.param(family, marginals, bent, shared, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("family", "marginals", "bent", "shared"), list(cases()))
def test_rule_of_features_and_log_q_equals_autograd(family: str, marginals: str, bent: bool, shared: bool) -> None:
    """Also for points that are themselves curved along the directions, and for directions that all points share."""
    reference = Reference(rows(), family=family, marginals=marginals).double()  # type: ignore[arg-type]
    x, v, c = rows(6), normal(2, 1 if shared else 6, 2), normal(6, 2, seed=3)
    given = c if bent else torch.zeros_like(c)
    rule = reference.rule(x)
    features = LocalFeatures.of(rule.at)
    moved = rule.move(v, given if bent else None)
    first = torch.cat((features.move(moved)[0], moved.log_prob.unsqueeze(-1)), -1)
    second = torch.cat((features.move(moved)[1], moved.bent_log_prob.unsqueeze(-1)), -1)

    def both(y: Tensor) -> Tensor:
        return torch.cat((local_features(reference.locate(y)), reference.log_prob(y).unsqueeze(-1)), 1)

    expected = torch.func.jvp(both, (x,), (given,))[1]
    for k in range(2):
        along = (v[k].expand(6, 2),)
        torch.testing.assert_close(first[k], torch.func.jvp(both, (x,), along)[1])
        expected = (
            expected + torch.func.jvp(lambda y, along=along: torch.func.jvp(both, (y,), along)[1], (x,), along)[1]
        )
    torch.testing.assert_close(second, expected)
    g = normal(6, 4, seed=4)
    pulled = rule.pull(g[:, -1], *features.pull(g[:, :-1]))
    torch.testing.assert_close(pulled, torch.func.vjp(both, x)[1](g)[0])
