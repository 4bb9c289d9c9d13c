"""Standardised units: there and back, with the logarithm of the Jacobian."""

import pytest
import torch

from ebm_cli.datasets import Gaussian, Moons, Standardizer, Synthetic
from tests.support import seeded


def test_fit_gives_zero_mean_and_unit_scale_and_inverts():
    x = 3.0 + torch.tensor([0.1, 40.0]) * torch.randn(5000, 2, generator=seeded())
    standardizer = Standardizer.fit(x)
    u = standardizer(x)
    torch.testing.assert_close(u.mean(0), torch.zeros(2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(u.std(0), torch.ones(2))
    torch.testing.assert_close(standardizer.inverse(u), x)


def test_fit_refuses_a_single_row():
    with pytest.raises(ValueError, match=r"^x must hold at least 2 rows, got 1"):
        Standardizer.fit(torch.ones(1, 3))


def test_log_det_is_the_log_determinant_of_the_map():
    standardizer = Standardizer.fit(torch.tensor([0.1, 40.0, 2.0]) * torch.randn(500, 3, generator=seeded())).double()
    point = torch.randn(1, 3, dtype=torch.float64, generator=seeded(1))
    jacobian = torch.autograd.functional.jacobian(lambda u: standardizer.inverse(u[None])[0], point[0])
    torch.testing.assert_close(standardizer.log_det, torch.linalg.slogdet(jacobian).logabsdet)


def test_density_in_standardised_units_integrates_to_1():
    data = Synthetic(Gaussian(1, [3.0], [[25.0]]))
    u = torch.linspace(-8.0, 8.0, 1001)[:, None]
    log_p_u = data.density.log_prob(data.standardizer.inverse(u)) + data.standardizer.log_det
    assert abs(float(log_p_u.exp().sum()) * 16.0 / 1000 - 1.0) < 1e-5


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_fit_keeps_the_unit_of_a_constant_column(constant: float):
    x = torch.cat([torch.full((1000, 1), constant), torch.randn(1000, 1, generator=seeded())], dim=1)
    standardizer = Standardizer.fit(x)
    assert standardizer.scale[0] == 1.0
    assert abs(float(standardizer.scale[1]) - 1.0) < 0.2
    assert standardizer(x).abs().max() < 10.0


def test_standardizer_is_rebuilt_from_shape_and_state():
    fitted = Standardizer.fit(torch.randn(50, 2, 3, generator=seeded()))
    again = Standardizer((2, 3))
    again.load_state_dict(fitted.state_dict())
    x = torch.randn(4, 2, 3, generator=seeded())
    assert torch.equal(again(x), fitted(x))
    assert torch.equal(Standardizer.identity((2, 3))(x), x)


def test_standardise_converts_rows_of_any_dtype_and_back():
    x = torch.randint(-5, 5, (50, 2), generator=seeded())
    standardizer = Standardizer.fit(x.float()).double()
    u = standardizer.standardise(x)
    assert u.dtype == standardizer.like.dtype == torch.float64
    assert torch.equal(u, standardizer(x.double()))
    torch.testing.assert_close(standardizer.to_data_units(u), x.double())


def test_standardise_and_to_data_units_record_no_gradient():
    standardizer, x = Standardizer((2,)), torch.ones(3, 2, requires_grad=True)
    assert not standardizer.standardise(x).requires_grad
    assert not standardizer.to_data_units(x).requires_grad
    assert standardizer.inverse(x).requires_grad, "the control: inverse is differentiable"


def test_dataset_state_is_its_standardizer():
    assert set(Synthetic(Moons(), n_train=10).state_dict()) == {"standardizer.mean", "standardizer.scale"}
