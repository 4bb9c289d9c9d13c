"""Steps on the buffer: torch's numbers, for every optimizer, also with parameters that have no gradient."""

import copy

import pytest
import torch
from torch import nn

from ebm_cli.optim.flat import Flat
from ebm_cli.optim.fused_adam import FlatAdam, make_step
from tests.optim.problems import ON_THE_BUFFER, OPTIMIZERS, Halving, loss_of, made


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("missing", [None, 0, 4], ids=["all", "first step", "in between"])
def test_steps_are_torchs(kind: str, missing: int | None) -> None:
    """One parameter has no gradient in one of the steps."""
    ours, theirs = made(torch.float64), made(torch.float64)
    flat = Flat(ours)
    mine, reference = OPTIMIZERS[kind](ours), OPTIMIZERS[kind](theirs)
    step = make_step(mine, flat)
    assert isinstance(step, FlatAdam) == (kind in ON_THE_BUFFER)
    for at in range(8):
        without = 1 if at == missing else None
        flat.backward(loss_of(ours, at, without))
        step()
        reference.zero_grad()
        loss_of(theirs, at, without).backward()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    gaps = set(range(flat.values.numel())) - {
        int(i) for view in flat.split(torch.arange(flat.values.numel())) for i in view.flatten()
    }
    assert gaps
    assert not flat.values[sorted(gaps)].any()
    assert all(p.grad is None for p in ours)
    # The state is torch's own, by parameter: an optimizer of torch continues from it.
    again = OPTIMIZERS[kind](theirs)
    again.load_state_dict(copy.deepcopy(mine.state_dict()))
    again.zero_grad()
    flat.backward(loss_of(ours, 9))
    step()
    loss_of(theirs, 9).backward()
    again.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_parameter_without_gradient_leaves_one_kernel(kind: str) -> None:
    """The last bias under score matching: one kernel for the slices on both sides of it, with torch's numbers."""
    ours, theirs = made(torch.float64), made(torch.float64)
    flat = Flat(ours)
    mine, reference = OPTIMIZERS[kind](ours), OPTIMIZERS[kind](theirs)
    step = make_step(mine, flat)
    for at in range(5):
        flat.backward(loss_of(ours, at, without=1))
        with torch.profiler.profile() as profile:
            step()
        calls = [event.count for event in profile.key_averages() if event.key.startswith("aten::_fused_adam")]
        assert sum(calls) == 1
        if at:
            assert all(p.grad is None for p in ours)
        reference.zero_grad()
        loss_of(theirs, at, without=1).backward()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    assert ours[1] not in mine.state


def test_step_keeps_channels_last() -> None:
    layer = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = layer.weight.detach().clone()
    flat = Flat(list(layer.parameters()))
    assert torch.equal(layer.weight, before)
    for kernel in (layer.weight, flat.all_views[0], flat.split(flat.values)[0]):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert not kernel.is_contiguous()
    optimizer = OPTIMIZERS["adam"](flat.parameters)
    step = make_step(optimizer, flat)
    truth = copy.deepcopy(layer)
    reference = OPTIMIZERS["adam"](truth.parameters())
    x = torch.randn(2, 3, 6, 6)
    for _ in range(3):
        flat.backward(layer(x).square().sum())
        step()
        reference.zero_grad()
        truth(x).square().sum().backward()
        reference.step()
        torch.testing.assert_close(layer.weight, truth.weight, rtol=1e-5, atol=1e-6)
    assert optimizer.state[layer.weight]["exp_avg"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("missing", [None, 1], ids=["all", "without one"])
def test_moved_parameters_keep_their_state(missing: int | None) -> None:
    """Torch's numbers from other buffers, and the same tensors of the optimizer: nothing is copied."""
    ours, theirs = made(torch.float64), made(torch.float64)
    flat = Flat(ours)
    mine, reference = OPTIMIZERS["adam"](ours), OPTIMIZERS["adam"](theirs)
    step = make_step(mine, flat)
    means = []
    for at in range(6):
        flat.backward(loss_of(ours, at, missing))
        if at == 3:
            means = [mine.state[p]["exp_avg"] for p in ours[2:]]
            flat.move(torch.empty_like(flat.values), torch.empty_like(flat.gradients))
        step()
        reference.zero_grad()
        loss_of(theirs, at, missing).backward()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    assert all(mine.state[p]["exp_avg"] is mean for p, mean in zip(ours[2:], means, strict=True))


def test_step_continues_from_a_loaded_state() -> None:
    """From a file, as a resumed run does, bit for bit."""
    whole, half = made(), made()
    flats = Flat(whole), Flat(half)
    optimizers = [OPTIMIZERS["adam"](parameters) for parameters in (whole, half)]
    steps = [make_step(optimizer, flat) for optimizer, flat in zip(optimizers, flats, strict=True)]
    for at in range(4):
        flats[0].backward(loss_of(whole, at))
        steps[0]()
    # The second has taken steps of its own, of which nothing may be left.
    for at in range(3):
        flats[1].backward(loss_of(half, 7 - at))
        steps[1]()
    flats[1].values.copy_(flats[0].values)
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for at in range(4, 8):
        for flat, step in zip(flats, steps, strict=True):
            flat.backward(loss_of(flat.parameters, at))
            step()
        assert torch.equal(flats[0].values, flats[1].values)
    assert optimizers[1].state[half[0]]["step"] == 8


def test_step_reads_the_learning_rate_of_the_moment() -> None:
    parameters = made()
    flat = Flat(parameters)
    optimizer = OPTIMIZERS["adam"](parameters)
    step = make_step(optimizer, flat)
    for at in range(3):
        flat.backward(loss_of(parameters, at))
        step()
    before = flat.values.clone()
    optimizer.param_groups[0]["lr"] = 0.0
    flat.backward(loss_of(parameters, 3))
    step()
    assert torch.equal(flat.values, before)


def test_optimizer_that_torch_lacks_takes_its_own_step() -> None:
    parameters = [nn.Parameter(torch.ones(3))]
    flat = Flat(parameters)
    step = make_step(Halving(parameters), flat)
    flat.backward(parameters[0].sum())
    step()
    assert flat.values[:3].tolist() == [0.5] * 3
