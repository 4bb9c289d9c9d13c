"""Optimizers as the loop steps them: the parameters of a player in one buffer, and torch's own numbers."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.methods import LossOutput, Method
from ebm_cli.optim.flat import LINE, Flat
from ebm_cli.optim.fused_adam import FlatAdam, update
from ebm_cli.optim.step import fast_step
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import composed

SHAPES = [(3, 5), (7,), (), (4, 1, 2), (33,)]


def made(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=rng, dtype=dtype)) for shape in SHAPES]


def loss_of(parameters: list[nn.Parameter], step: int, without: int | None = None) -> Tensor:
    """Another function in each step, of all parameters but one."""
    terms = [((p - step) ** 4 + p.sin() * (i + 1)).sum() for i, p in enumerate(parameters) if i != without]
    return torch.stack(terms).sum()


def trainer(*words: str) -> Trainer:
    cfg = composed("dataset=moons", "energy.width=8", "steps=100", *words)
    return make_trainer(cfg, assemble(cfg))


# --- one buffer -------------------------------------------------------------------------------------------------------


def test_parameters_stay_what_they_are() -> None:
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
        assert (p.data_ptr() - flat.values.data_ptr()) % LINE == 0
    assert float(flat.values.abs().sum()) == pytest.approx(sum(float(p.abs().sum()) for p in before), rel=1e-6)


def test_what_is_written_to_a_parameter_is_in_the_buffer_and_back() -> None:
    parameters = made()
    flat = Flat(parameters)
    with torch.no_grad():
        parameters[1].fill_(2.5)
    assert int((flat.values == 2.5).sum()) == 7
    flat.values.zero_()
    assert not any(p.any() for p in parameters)


def test_a_module_is_saved_and_loaded_as_before() -> None:
    torch.manual_seed(0)
    module, other = nn.Linear(3, 5), nn.Linear(3, 5)
    Flat(list(module.parameters()))
    flat = Flat(list(other.parameters()))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.weight, module.weight)
    assert int((flat.values != 0).sum()) == 20
    assert torch.equal(copy.deepcopy(other).weight, module.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradients_are_those_of_autograd(dtype: torch.dtype) -> None:
    parameters = made(dtype)
    truth = torch.autograd.grad(loss_of(parameters, 1), parameters)
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    assert flat.found == [True] * 5
    assert all(p.grad is None for p in parameters)
    for found, expected in zip(flat.split(flat.gradients), truth, strict=True):
        assert torch.equal(found, expected)
    expected_norm = torch.stack([g.norm() for g in truth]).norm()
    torch.testing.assert_close(flat.gradients.norm(), expected_norm)
    flat.hand_back()
    for p, expected in zip(parameters, truth, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, expected)


def test_a_parameter_that_the_loss_leaves_out_has_a_gradient_of_zero() -> None:
    parameters = made()
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    flat.backward(loss_of(parameters, 1, without=1))
    assert flat.found == [True, False, True, True, True]
    places = flat.places
    assert flat.together() == [slice(0, 16), slice(32, 112)]
    assert not places[1].any()
    assert all(place.any() for i, place in enumerate(places) if i != 1)
    flat.hand_back()
    assert [p.grad is None for p in parameters] == [False, True, False, False, False]
    flat.forget()
    assert all(p.grad is None for p in parameters)


def test_a_gradient_that_was_left_is_not_added() -> None:
    parameters = made()
    flat = Flat(parameters)
    flat.backward(loss_of(parameters, 1))
    expected = flat.gradients.clone()
    for p in parameters:
        p.grad = torch.ones_like(p)
    flat.backward(loss_of(parameters, 1))
    assert torch.equal(flat.gradients, expected)


def test_kernels_of_images_keep_their_channels_last() -> None:
    layer = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = layer.weight.detach().clone()
    flat = Flat(list(layer.parameters()))
    assert torch.equal(layer.weight, before)
    for kernel in (layer.weight, flat.places[0], flat.split(flat.values)[0]):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert not kernel.is_contiguous()
    optimizer = MAKES["adam"](flat.parameters)
    move = update(optimizer, flat)
    truth = copy.deepcopy(layer)
    reference = MAKES["adam"](truth.parameters())
    x = torch.randn(2, 3, 6, 6)
    for _ in range(3):
        flat.backward(layer(x).square().sum())
        move()
        reference.zero_grad()
        truth(x).square().sum().backward()
        reference.step()
        torch.testing.assert_close(layer.weight, truth.weight, rtol=1e-5, atol=1e-6)
    assert optimizer.state[layer.weight]["exp_avg"].is_contiguous(memory_format=torch.channels_last)


def test_a_trainer_whose_loss_was_not_a_number_goes_on_from_an_earlier_state() -> None:
    """As `guard=rollback` does: no trace of it is left, not in what lies between two parameters either."""
    made_anew = [trainer("method=nce", "clip_grad_norm=1.0", "log_every=100") for _ in range(2)]
    spoiled, sound = made_anew
    for each in made_anew:
        for _ in range(3):
            each.advance()
    state = copy.deepcopy(spoiled.state_dict())
    loss = spoiled.method.loss

    def lost(energy: Any, x: Tensor, rng: torch.Generator) -> LossOutput:
        out = loss(energy, x, rng)
        return replace(out, loss=out.loss * float("nan"))

    spoiled.method.loss = lost  # type: ignore[method-assign]
    spoiled.advance()
    assert not bool(spoiled.grad_norm.isfinite())
    spoiled.method.loss = loss  # type: ignore[method-assign]
    spoiled.load_state_dict(state)
    for _ in range(3):
        spoiled.advance()
        sound.advance()
        assert torch.equal(spoiled.grad_norm, sound.grad_norm)
    for a, b in zip(spoiled.energy.parameters(), sound.energy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_players_that_share_a_parameter_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(self: Method, energy: Energy) -> dict[str, list[nn.Parameter]]:
        return {"energy": list(energy.parameters()), "other": list(energy.parameters())}

    monkeypatch.setattr("ebm_cli.methods.nce.NCE.players", both)
    with pytest.raises(UserError, match="NCE lists a parameter twice"):
        trainer("method=nce")


def test_no_parameters() -> None:
    flat = Flat([])
    assert flat.values.numel() == 0
    assert flat.split(flat.values) == []


def test_parameters_of_two_types_are_refused() -> None:
    with pytest.raises(ValueError, match="of one type"):
        Flat([*made(torch.float32), *made(torch.float64)])


# --- the step ---------------------------------------------------------------------------------------------------------

MAKES: dict[str, Callable[[Any], Optimizer]] = {
    "adam": lambda p: Adam(p, lr=0.05, betas=(0.8, 0.95), fused=True),
    "adam, l2": lambda p: Adam(p, lr=0.05, weight_decay=0.1, eps=1e-3, fused=True),
    "adamw": lambda p: AdamW(p, lr=0.05, weight_decay=0.1, fused=True),
    "adam, up": lambda p: Adam(p, lr=0.05, maximize=True, fused=True),
    "amsgrad": lambda p: Adam(p, lr=0.05, amsgrad=True, fused=True),
    "adam, not fused": lambda p: Adam(p, lr=0.05),
    "sgd": lambda p: SGD(p, lr=1e-4, momentum=0.9),
}

ON_THE_BUFFER = {"adam", "adam, l2", "adamw", "adam, up"}


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("missing", [None, 0, 4], ids=["all", "first step", "in between"])
def test_a_step_is_torchs(kind: str, missing: int | None) -> None:
    ours, theirs = made(torch.float64), made(torch.float64)
    flat = Flat(ours)
    mine, reference = MAKES[kind](ours), MAKES[kind](theirs)
    move = update(mine, flat)
    assert isinstance(move, FlatAdam) == (kind in ON_THE_BUFFER)
    for step in range(8):
        without = 1 if step == missing else None
        flat.backward(loss_of(ours, step, without))
        move()
        reference.zero_grad()
        loss_of(theirs, step, without).backward()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    between = set(range(flat.values.numel())) - {
        int(i) for place in flat.split(torch.arange(flat.values.numel())) for i in place.flatten()
    }
    assert between
    assert not flat.values[sorted(between)].any()
    assert all(p.grad is None for p in ours)
    # What it keeps is torch's own, by parameter: an optimizer of torch goes on from it.
    again = MAKES[kind](theirs)
    again.load_state_dict(copy.deepcopy(mine.state_dict()))
    again.zero_grad()
    flat.backward(loss_of(ours, 9))
    move()
    loss_of(theirs, 9).backward()
    again.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_parameter_that_never_has_a_gradient_costs_the_others_nothing(kind: str) -> None:
    """As the last bias under score matching: one kernel for what lies on either side of it; torch's numbers."""
    ours, theirs = made(torch.float64), made(torch.float64)
    flat = Flat(ours)
    mine, reference = MAKES[kind](ours), MAKES[kind](theirs)
    move = update(mine, flat)
    for step in range(5):
        flat.backward(loss_of(ours, step, without=1))
        with torch.profiler.profile() as profile:
            move()
        calls = [event.count for event in profile.key_averages() if event.key.startswith("aten::_fused_adam")]
        assert sum(calls) == 1
        if step:
            assert all(p.grad is None for p in ours)
        reference.zero_grad()
        loss_of(theirs, step, without=1).backward()
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    assert ours[1] not in mine.state
    assert isinstance(move, FlatAdam)
    assert move._held is not None


def test_a_loss_that_depends_on_nothing_is_named() -> None:
    flat = Flat(made())
    with pytest.raises(ValueError, match="depends on no parameter"):
        flat.backward(torch.ones((), requires_grad=True) * 2)


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="optimizer must step without a closure, got LBFGS"):
        fast_step(torch.optim.LBFGS(made()))


def test_a_state_that_was_loaded_is_the_one_that_moves() -> None:
    """From a file, as a run that is continued has it, and bit for bit."""
    whole, half = made(), made()
    flats = Flat(whole), Flat(half)
    optimizers = [MAKES["adam"](parameters) for parameters in (whole, half)]
    moves = [update(optimizer, flat) for optimizer, flat in zip(optimizers, flats, strict=True)]
    for step in range(4):
        flats[0].backward(loss_of(whole, step))
        moves[0]()
    # The second has made steps of its own, which must not be left in what it keeps.
    for step in range(3):
        flats[1].backward(loss_of(half, 7 - step))
        moves[1]()
    flats[1].values.copy_(flats[0].values)
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for step in range(4, 8):
        for flat, move in zip(flats, moves, strict=True):
            flat.backward(loss_of(flat.parameters, step))
            move()
        assert torch.equal(flats[0].values, flats[1].values)
    assert optimizers[1].state[half[0]]["step"] == 8


def test_a_learning_rate_that_changes_is_taken() -> None:
    parameters = made()
    flat = Flat(parameters)
    optimizer = MAKES["adam"](parameters)
    move = update(optimizer, flat)
    for step in range(3):
        flat.backward(loss_of(parameters, step))
        move()
    before = flat.values.clone()
    optimizer.param_groups[0]["lr"] = 0.0
    flat.backward(loss_of(parameters, 3))
    move()
    assert torch.equal(flat.values, before)


# --- torch's optimizers without the rest ------------------------------------------------------------------------------


def test_a_schedule_of_torch_sees_that_its_optimizer_moves() -> None:
    (p,) = parameters = [nn.Parameter(torch.ones(3))]
    optimizer = SGD(parameters, lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step, schedule = fast_step(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(2):
            p.grad = torch.ones(3)
            step()
            schedule.step()
    assert p.tolist() == [1 - 0.5 - 0.25] * 3


class Halving(Optimizer):
    """One that torch does not have."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            p.mul_(0.5)


@pytest.mark.parametrize("make", [Halving, lambda p: SGD(p, lr=0.1)])
def test_a_schedule_may_be_ahead_of_a_player_whose_turn_has_not_come(make: Callable[[Any], Optimizer]) -> None:
    optimizer = make([nn.Parameter(torch.ones(3))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast_step(optimizer)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        schedule.step()
        schedule.step()


def test_hooks_of_an_optimizer_are_not_called() -> None:
    (p,) = parameters = [nn.Parameter(torch.ones(3))]
    optimizer = SGD(parameters, lr=0.5)
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    p.grad = torch.ones(3)
    fast_step(optimizer)()
    assert seen == []
    optimizer.step()
    assert seen == [1]
    assert p.tolist() == [0.0] * 3


def test_an_optimizer_of_somebody_else_is_stepped_by_its_own_step() -> None:
    parameters = [nn.Parameter(torch.ones(3))]
    flat = Flat(parameters)
    move = update(Halving(parameters), flat)
    flat.backward(parameters[0].sum())
    move()
    assert flat.values[:3].tolist() == [0.5] * 3
