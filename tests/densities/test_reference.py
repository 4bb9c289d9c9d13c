"""The best simple density of the rows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Density, FittedMixture, Reference, reference_fit
from ebm_cli.densities.differentials import differentials_by_autograd
from ebm_cli.densities.memo import of_few_rows
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.reference_fit import fit_reference
from ebm_cli.densities.student import StudentMixture
from tests.densities.support import bent_data, hard_rows
from tests.support import seeded


def heavy_rows(n: int = 3000) -> Tensor:
    """Rows [n, 2] of two t distributions, ν = 3, at (−4, 0) and (4, 0)."""
    rng = seeded()
    z = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    u = torch.randn(n, 3, generator=rng, dtype=torch.float64).square().mean(1, keepdim=True)
    side = (torch.rand(n, generator=rng) < 0.3).double()
    return z / u.sqrt() + torch.stack((8 * side - 4, 0 * side), 1)


def skewed(z: Tensor) -> Tensor:
    """Columns that are skewed and get heavy tails."""
    return ((z.asinh() + 0.7) / 0.7).sinh()


def skewed_rows() -> Tensor:
    """Rows [3000, 2], correlated, of skewed marginals with heavy tails."""
    return skewed(normal_rows())


def normal_rows(n: int = 3000) -> Tensor:
    """Rows [n, 2] of a correlated normal distribution."""
    z = torch.randn(n, 2, generator=seeded(1), dtype=torch.float64)
    return torch.stack((z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]), 1)


def twisted_rows(n: int = 5000) -> Tensor:
    """Rows [n, 2] of a correlated normal distribution, each column of which is twisted as no sinh-arcsinh does."""
    z = normal_rows(n)
    return z + 0.9 * z.sin()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(heavy_rows, "a mixture of 2 Student's t distributions", marks=pytest.mark.slow),
        pytest.param(skewed_rows, "a Gaussian, with transformed marginals", marks=pytest.mark.slow),
        (normal_rows, "a Gaussian"),
        pytest.param(twisted_rows, "a Gaussian, with transformed marginals", marks=pytest.mark.slow),
    ],
)
def test_rows_choose_the_family_that_they_come_from(make: Callable[[], Tensor], words: str) -> None:
    assert Reference(make()).describe() == words


FORCED: dict[str, dict[str, Any]] = {
    "mixture": {"family": "mixture", "marginals": "none"},
    "student": {"family": "student", "marginals": "none"},
    "transformed": {"family": "mixture", "marginals": "sinh_arcsinh"},
    "wide": {"family": "student", "marginals": "sinh_arcsinh", "wide": 0.2},
    "spline": {"family": "mixture", "marginals": "spline"},
}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name == "wide" else []) for name in FORCED])
def forced(request: pytest.FixtureRequest) -> tuple[Density, dict[str, Any]]:
    return Reference(bent_data(), **FORCED[request.param]), FORCED[request.param]


def test_density_integrates_to_1(forced: tuple[Density, dict[str, Any]]) -> None:
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64).sinh()
    weights = torch.zeros_like(axis)
    weights[1:] += axis.diff() / 2
    weights[:-1] += axis.diff() / 2
    mass = forced[0].log_prob(torch.cartesian_prod(axis, axis)).exp() @ torch.outer(weights, weights).flatten()
    assert float(mass) == pytest.approx(1, abs=2e-3)


def test_differentials_are_those_of_autograd(forced: tuple[Density, dict[str, Any]]) -> None:
    density = forced[0]
    x = 2 * torch.randn(40, 2, generator=seeded(), dtype=torch.float64)
    for v in (torch.eye(2).double().unsqueeze(1), torch.randn(3, 40, 2, generator=seeded(1), dtype=torch.float64)):
        expected = differentials_by_autograd(density.log_prob, x, v)
        for found, by_autograd in zip(density.differentials(x, v), expected, strict=True):
            torch.testing.assert_close(found, by_autograd)
    assert density.differentials(x).second is None


def test_samples_are_distributed_as_the_density(forced: tuple[Density, dict[str, Any]]) -> None:
    """E_q[m(x)/q(x)] = 1 for a narrow m, within 5 standard errors; not for samples that are moved."""
    density, narrow = forced[0], FittedMixture(shape=(2,)).double()
    narrow.rescale(torch.tensor([0.2, 0.1]).double(), torch.tensor([0.3, 0.2]).double())
    x = density.sample(20_000, seeded())
    ratio, moved = ((narrow.log_prob(at) - density.log_prob(at)).exp() for at in (x, x + 0.1))
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / len(x) ** 0.5)
    assert float(moved.mean()) != pytest.approx(1, abs=5 * float(moved.std()) / len(x) ** 0.5), "a control"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_is_loaded_bit_for_bit_without_data(forced: tuple[Density, dict[str, Any]], dtype: torch.dtype) -> None:
    density, keys = forced
    density = density.to(dtype)
    empty = Reference(shape=(2,), **keys).to(dtype)
    empty.load_state_dict(density.state_dict(), strict=True)
    x = bent_data(100).to(dtype)
    assert torch.equal(empty.log_prob(x), density.log_prob(x))
    assert torch.equal(empty.sample(50, seeded()), density.sample(50, seeded()))
    assert empty.log_prob(x).dtype == dtype


@pytest.mark.slow
def test_sinh_arcsinh_and_spline_are_stored_together() -> None:
    """Skewed after it was twisted, a column needs both: the spline describes what the first one leaves."""
    rows = skewed(twisted_rows(1500))
    density = Reference(rows)
    assert density.structure.tolist()[1:] == [True, True]
    empty = Reference(shape=(2,)).double()
    empty.load_state_dict(density.state_dict(), strict=True)
    assert torch.equal(empty.log_prob(rows), density.log_prob(rows))


def test_state_of_a_version_without_splines_is_loaded() -> None:
    density = Reference(bent_data(), family="student", marginals="sinh_arcsinh")
    old = density.state_dict() | {"structure": density.structure[:2]}
    empty = Reference(shape=(2,)).double()
    empty.load_state_dict(old, strict=True)
    assert torch.equal(empty.log_prob(bent_data()), density.log_prob(bent_data()))


@pytest.mark.slow
def test_same_rows_are_fitted_once_and_alike() -> None:
    rows = heavy_rows(200)
    first, again = fit_reference(rows), fit_reference.__wrapped__(rows)  # type: ignore[attr-defined]
    assert torch.equal(first.log_prob(rows), again.log_prob(rows))
    assert torch.equal(first.log_prob(rows), fit_reference(rows.clone()).log_prob(rows))


@pytest.mark.slow
def test_fit_of_few_rows_is_not_remembered() -> None:
    rows = heavy_rows(600)
    with of_few_rows():
        hasty = Reference(rows)
    assert hasty.describe() == "a Student's t distribution", "what predicts from few rows"
    assert Reference(rows).describe() == "a mixture of 2 Student's t distributions"


@pytest.mark.slow
def test_wide_part_is_a_t_distribution_of_the_moments() -> None:
    rows = bent_data()
    mixed, alone = Reference(rows, family="mixture", wide=0.25), Reference(rows, family="mixture")
    mean, factor = Moments.from_rows(rows)
    broad = StudentMixture((2,)).double()
    one = torch.ones(1).double()
    broad.set_components(one, mean.unsqueeze(0), (factor @ factor.T).unsqueeze(0), 4 * one, rows)
    expected = 0.75 * alone.log_prob(rows).exp() + 0.25 * broad.log_prob(rows).exp()
    torch.testing.assert_close(mixed.log_prob(rows).exp(), expected)


QUICK = ("repeated rows", "one row repeated", "ten rows", "fewer rows than columns")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in hard_rows()]
)
def test_hard_rows_give_a_finite_reference(name: str) -> None:
    rows = hard_rows()[name]
    for dtype in (torch.float64, torch.float32):
        density = Reference(rows.to(dtype), wide=0.05)
        x = density.sample(200, seeded())
        for points in (rows.to(dtype), x, 1e3 * x + 1e3):
            value, gradient, second = density.differentials(points, torch.ones(1, 1, rows.shape[1], dtype=dtype))
            assert value.isfinite().all()
            assert gradient.isfinite().all()
            assert second is not None
            assert second.isfinite().all()


@pytest.mark.slow
def test_points_of_two_axes_keep_their_shape() -> None:
    rows = heavy_rows(100).view(100, 2, 1)
    density = Reference(rows, wide=0.1)
    x = density.sample(7, seeded())
    log_q, gradient, second = density.differentials(x, torch.ones(1, 1, 2, 1, dtype=torch.float64))
    assert x.shape == gradient.shape == (7, 2, 1)
    assert second is not None
    assert log_q.shape == second.shape == (7,)


@pytest.mark.parametrize("wide", [-0.1, 1.0])
def test_share_of_the_wide_part_is_refused_out_of_its_range(wide: float) -> None:
    with pytest.raises(ValueError, match=r"^wide must"):
        Reference(shape=(2,), wide=wide)


@pytest.mark.parametrize(("n", "n_folds", "n_held"), [(900, 3, 300), (3000, 3, 1000), (5000, 3, 1666), (6000, 1, 1200)])
def test_every_row_of_few_is_held_out_once(n: int, n_folds: int, n_held: int) -> None:
    parts = list(reference_fit._splits(torch.arange(n).unsqueeze(1)))
    held = torch.cat([part for _, part in parts]).flatten()
    assert len(parts) == n_folds
    assert len(held) == len(held.unique()) == n_folds * n_held
    assert all(not torch.isin(train, one).any() for train, one in parts)


@pytest.mark.slow
@pytest.mark.parametrize(("n_folds", "loss"), [(1, 0.5), (3, 0.2)])
def test_row_far_from_all_others_does_not_choose_the_family(
    n_folds: int, loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes the standard error of any difference as large as the difference; two of three folds have fitted it."""
    monkeypatch.setattr(reference_fit, "ROWS_OF_FOLDS", 2000 if n_folds == 1 else 5000)
    bulk = torch.randn(2500, 2, generator=seeded()) + torch.tensor([6.0 + 1e-3 * n_folds, 0.0])
    bulk[::3, 0] -= 12
    held_out = int(torch.randperm(2500, generator=torch.Generator().manual_seed(2))[0])
    rows = bulk.clone()
    rows[held_out] = torch.tensor([1000.0, -1000.0])
    best = Reference(bulk).log_prob(bulk).mean()
    assert Reference(rows).log_prob(bulk).mean() > best - 0.05
    monkeypatch.setattr(reference_fit, "MOST_BEHIND", 1e9)
    # Rows that are not remembered.
    assert Reference(rows + 1e-4).log_prob(bulk).mean() < best - loss, "a control"
