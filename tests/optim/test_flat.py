"""Parameters in one buffer: the same objects and values, and autograd's gradients in another buffer."""

import copy

import pytest
import torch
from torch import nn

from ebm_cli.optim.flat import ALIGNMENT, Flat
from tests.optim.problems import loss_of, made


def test_flat_keeps_parameters_their_values_and_shapes() -> None:
    parameters = made()
    before = [p.detach().clone() for p in parameters]
    flat = Flat(parameters)
    assert [id(p) for p in flat.parameters] == [id(p) for p in parameters]
    for p, old in zip(parameters, before, strict=True):
        assert torch.equal(p, old)
        assert p.shape == old.shape
        assert p.is_leaf
        assert p.requires_grad
        assert p.untyped_storage().data_ptr() == flat.values.untyped_storage().data_ptr()
        assert (p.data_ptr() - flat.values.data_ptr()) % ALIGNMENT == 0
    assert float(flat.values.abs().sum()) == pytest.approx(sum(float(p.abs().sum()) for p in before), rel=1e-6)


def test_flat_and_parameters_see_each_others_writes() -> None:
    parameters = made()
    flat = Flat(parameters)
    with torch.no_grad():
        parameters[1].fill_(2.5)
    assert int((flat.values == 2.5).sum()) == 7
    flat.values.zero_()
    assert not any(p.any() for p in parameters)


def test_flat_module_is_saved_loaded_and_copied() -> None:
    torch.manual_seed(0)
    module, other = nn.Linear(3, 5), nn.Linear(3, 5)
    Flat(list(module.parameters()))
    flat = Flat(list(other.parameters()))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.weight, module.weight)
    assert int((flat.values != 0).sum()) == 20
    assert torch.equal(copy.deepcopy(other).weight, module.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_autograd(dtype: torch.dtype) -> None:
    parameters = made(dtype)
    truth = torch.autograd.grad(loss_of(parameters, 1), parameters)
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    assert flat.has_grad == [True] * 5
    assert all(p.grad is None for p in parameters)
    for found, expected in zip(flat.split(flat.gradients), truth, strict=True):
        assert torch.equal(found, expected)
    expected_norm = torch.stack([g.norm() for g in truth]).norm()
    torch.testing.assert_close(flat.gradients.norm(), expected_norm)
    flat.expose_grads()
    for p, expected in zip(parameters, truth, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, expected)


def test_gradient_of_an_unused_parameter_is_zero() -> None:
    parameters = made()
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    flat.backward(loss_of(parameters, 1, without=1))
    assert flat.has_grad == [True, False, True, True, True]
    assert flat.contiguous_slices() == [slice(0, 16), slice(32, 112)]
    assert not flat.all_views[1].any()
    assert all(view.any() for i, view in enumerate(flat.all_views) if i != 1)
    flat.expose_grads()
    assert [p.grad is None for p in parameters] == [False, True, False, False, False]
    flat.clear_grads()
    assert all(p.grad is None for p in parameters)


def test_gradients_are_not_added_to_earlier_ones() -> None:
    parameters = made()
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    expected = flat.gradients.clone()
    for p in parameters:
        p.grad = torch.ones_like(p)
    flat.backward(loss_of(parameters, 1))
    assert torch.equal(flat.gradients, expected)


def test_backward_refuses_a_loss_without_parameters() -> None:
    flat = Flat(made())
    with pytest.raises(ValueError, match="depends on no parameter"):
        flat.backward(torch.ones((), requires_grad=True) * 2)


def test_flat_of_no_parameters_is_empty() -> None:
    flat = Flat([])
    assert flat.values.numel() == 0
    assert flat.split(flat.values) == []


def test_flat_refuses_parameters_of_two_dtypes() -> None:
    with pytest.raises(ValueError, match="of one type"):
        Flat([*made(torch.float32), *made(torch.float64)])
