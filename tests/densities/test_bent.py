"""The flow that bends the best simple density of a table."""

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Reference
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.differentials import differentials_by_autograd
from ebm_cli.densities.flow_fit import as_student, fit_flow
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.reference_fit import fit_reference
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh
from ebm_cli.densities.transformed import Transformed
from tests.densities.support import bent_data, perturb
from tests.support import seeded


def curved_rows(n: int = 1500) -> Tensor:
    """Rows [n, 2] of y = x² + 0.3 ε, standardised: no mixture of a few Gaussians is as good as one bend."""
    z = torch.randn(n, 2, generator=seeded(), dtype=torch.float64)
    rows = torch.stack((z[:, 0], z[:, 0].square() + 0.3 * z[:, 1]), 1)
    return (rows - rows.mean(0)) / rows.std(0)


def bent(transformed: bool = False) -> Reference:
    """A reference whose flow has weights that no training gave it, float64."""
    mixture = FittedMixture(bent_data(), n_components=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = Bent(mixture, as_student(mixture), Moments.from_rows(bent_data()), n_couplings=3, width=7)
    flow = perturb(flow.double()).freeze()
    reference = Reference(shape=(2,)).double()
    marginals = SinhArcsinh(2).double()
    marginals.skew.fill_(0.4)
    reference.fitted = Transformed(flow, marginals) if transformed else flow
    reference.structure.copy_(torch.tensor([False, transformed, False]))
    return reference


CASES = pytest.mark.parametrize("transformed", [False, True], ids=["plain", "transformed"])


@CASES
def test_density_integrates_to_1(transformed: bool) -> None:
    axis = torch.linspace(-6, 6, 401, dtype=torch.float64).sinh()
    weights = torch.zeros_like(axis)
    weights[1:] += axis.diff() / 2
    weights[:-1] += axis.diff() / 2
    density = bent(transformed).log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert float(density @ torch.outer(weights, weights).flatten()) == pytest.approx(1, abs=2e-3)


@CASES
def test_samples_know_their_log_density(transformed: bool) -> None:
    """The map of sampling and that of the density are inverse to each other."""
    reference = bent(transformed)
    x, log_q = reference.fitted.sample_with_log_prob(500, seeded())
    torch.testing.assert_close(reference.log_prob(x), log_q, rtol=1e-9, atol=1e-9)


@CASES
def test_samples_are_distributed_as_the_density(transformed: bool) -> None:
    """E_q[m(x)/q(x)] = 1 for a narrow m, within 5 standard errors; not for samples that are moved."""
    density, narrow = bent(transformed), FittedMixture(shape=(2,)).double()
    narrow.rescale(torch.tensor([0.2, 0.1]).double(), torch.tensor([0.3, 0.2]).double())
    x = density.sample(20_000, seeded())
    ratio, moved = ((narrow.log_prob(at) - density.log_prob(at)).exp() for at in (x, x + 0.1))
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / len(x) ** 0.5)
    assert float(moved.mean()) != pytest.approx(1, abs=5 * float(moved.std()) / len(x) ** 0.5), "a control"


@CASES
def test_differentials_are_difference_quotients(transformed: bool) -> None:
    """∇ log q and vᵀ ∇² log q v against central differences of log q and of ∇ log q, and all against autograd."""
    density = bent(transformed)
    x = torch.randn(30, 2, generator=seeded(), dtype=torch.float64)
    v = torch.randn(2, 30, 2, generator=seeded(1), dtype=torch.float64)
    found = density.differentials(x, v)
    for part, expected in zip(found, differentials_by_autograd(density.log_prob, x, v), strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-10)
    h = 1e-5
    slope = (density.log_prob(x + h * v[0]) - density.log_prob(x - h * v[0])) / (2 * h)
    torch.testing.assert_close((found.gradient * v[0]).sum(1), slope, rtol=1e-6, atol=1e-6)
    second = sum(
        ((density.differentials(x + h * u).gradient - density.differentials(x - h * u).gradient) * u).sum(1) / (2 * h)
        for u in v
    )
    torch.testing.assert_close(found.second, second, rtol=1e-6, atol=1e-6)


@CASES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_is_loaded_bit_for_bit_without_data(transformed: bool, dtype: torch.dtype) -> None:
    """Also into a reference that has another density, and of other sizes than new flows have."""
    density = bent(transformed).to(dtype)
    x = bent_data(100).to(dtype)
    for empty in (Reference(shape=(2,), family="flow"), Reference(bent_data(), family="gaussian", marginals="none")):
        empty.to(dtype).load_state_dict(density.state_dict(), strict=True)
        assert torch.equal(empty.log_prob(x), density.log_prob(x))
        assert torch.equal(empty.sample(50, seeded()), density.sample(50, seeded()))
        assert not list(empty.parameters()), "nothing of it is trained"
    simple = Reference(bent_data().to(dtype), family="gaussian", marginals="none")
    empty.load_state_dict(simple.state_dict(), strict=True)
    assert torch.equal(empty.log_prob(x), simple.log_prob(x)), "and back"


def test_new_flow_is_the_density_that_it_starts_at() -> None:
    mixture = FittedMixture(bent_data(), n_components=3)
    flow = Bent(mixture, as_student(mixture), Moments.from_rows(bent_data()), n_couplings=8, width=32).double()
    torch.testing.assert_close(flow.log_prob(bent_data()), mixture.log_prob(bent_data()))


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_cli.densities.flow_fit.N_STEPS", 100)
    monkeypatch.setattr("ebm_cli.densities.flow_fit.BATCH_SIZE", 128)


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
def test_flow_bends_one_component_into_a_parabola() -> None:
    """Better on fresh rows than the Gaussian by most of what it lacks; the fit is the same in every call."""
    rows = curved_rows(900)
    fitted = fit_flow.__wrapped__(rows, "none")  # type: ignore[attr-defined]
    again = fit_flow.__wrapped__(rows, "none")  # type: ignore[attr-defined]
    assert torch.equal(fitted.log_prob(rows), again.log_prob(rows))
    assert fitted.log_prob(rows).dtype == torch.float64
    fresh = curved_rows(4000)[1000:]
    gain = fitted.log_prob(fresh) - fit_reference(rows, ("gaussian",), "none").log_prob(fresh)
    assert float(gain.mean()) > 0.6


@pytest.mark.usefixtures("short_training")
def test_rows_of_a_gaussian_stay_at_the_gaussian() -> None:
    rows = torch.randn(400, 2, generator=seeded(3), dtype=torch.float64)
    reference = Reference(rows, family="flow", marginals="none")
    assert reference.flow is None
    assert torch.equal(reference.log_prob(rows), Reference(rows, marginals="none").log_prob(rows))
    few = Reference(curved_rows(40), family="flow")
    assert few.flow is None


def test_flow_of_one_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs two or more, got one: take auto$"):
        Reference(torch.zeros(100, 1), family="flow")
