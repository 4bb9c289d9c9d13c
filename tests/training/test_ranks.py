"""A run on several processes: the same training as one process that is fed their rows and draws joined."""

import copy
import time
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ebm_cli.errors import UserError
from ebm_cli.methods import SM, ssm
from ebm_cli.methods.resampling import Pool, Survivors, pooled
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.signals import Signals
from ebm_cli.system.ranks import Ranks
from ebm_cli.training.build import make_trainer
from ebm_cli.training.common_stop import CommonStop
from ebm_cli.training.guard import Diverged, Guard
from ebm_cli.training.trainer import Trainer
from tests.ranks import ThreadRanks, fed_with, together, trainer_of
from tests.support import METHODS, composed, differences, seeded

STEPS, CHAINS = 20, 64
WORDS = ["dtype=float64", "batch_size=14", "dataset=gaussian", "energy.width=4", "optimizer.lr=0.01"]
SMALL = {"bridges": ["method.width=4"], "fce": ["noise.width=4", "noise.n_couplings=2"]}
VARIANTS = [
    ["method=sm", "dataset.n_train=50", "dataset.noise_std=0.1"],
    ["method=ssm", "method.projection=gaussian"],
    ["method=ssm", "method.n_projections=3"],
    ["method=nce", "method.objective=ranking", "method.nu=2"],
    ["method=nce", "method.objective=self_normalised", "noise.widen=1.5"],
    ["method=nce", "method.redraw=false", "method.nu=3"],
    ["method=cnce", "method.eps_least=0.1", "method.n_copies=3"],
    ["method=cd", "method.kl=0.3", "method.l2=0.1", "sampler.step_size=2"],
    ["method=cd", "method.start=noise", "sampler=hmc"],
    ["method=pcd", "sampler=tempering", "sampler.n_replicas=3"],
    ["method=pcd", "sampler=langevin", "sampler.step_size=0.3"],
]


def moved(trainer: Trainer) -> Tensor:
    """All parameters of all players."""
    return torch.cat([player.flat.values for player in trainer.players.values()])


class Ran(NamedTuple):
    """The joined state of ranks before and after their steps, and the parameters of each."""

    start: dict[str, Any]
    parameters: list[Tensor]
    end: dict[str, Any]


def ran(words: list[str], make: Any = ThreadRanks) -> Ran:
    """Train with two ranks in threads."""
    cfg = composed(*WORDS, *words)

    def work(ranks: Ranks) -> tuple[dict[str, Any], Tensor, dict[str, Any]]:
        made = trainer_of(cfg, ranks)
        start = copy.deepcopy(made.state_dict())
        for _ in range(STEPS):
            made.advance()
        made.guard.require_sound()
        return start, moved(made), made.state_dict()

    found = together(2, work, make)
    return Ran(found[0][0], [each[1] for each in found], found[0][2])


def joined_draw(monkeypatch: pytest.MonkeyPatch, own: Any) -> None:
    """Signs of `orthogonal` have one part for all rows of a rank: the rows of all ranks are joined here."""
    draw = ssm.DRAW["orthogonal"]

    def of_all(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
        each = (shape[0], shape[1] // len(own), *shape[2:])
        return torch.cat([draw(each, like, g) for g in own], 1)

    monkeypatch.setitem(ssm.DRAW, "orthogonal", of_all)


def one_process(words: list[str], start: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made, drawn = fed_with(composed(*WORDS, *words), start, CHAINS)
    joined_draw(monkeypatch, drawn._own)
    with drawn:
        for _ in range(STEPS):
            made.advance()
    return made


CASES = [
    *([f"method={m}", *SMALL.get(m, [])] for m in METHODS),
    *(pytest.param(words, marks=pytest.mark.slow) for words in VARIANTS),
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_two_ranks_are_one_process(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    start, parameters, end = ran(words)
    assert torch.equal(parameters[0], parameters[1])
    made = one_process(words, start, monkeypatch)
    alone = made.state_dict()
    torch.testing.assert_close(parameters[0], moved(made), rtol=1e-6, atol=1e-8)
    for name in ("buffer", "age", "hot.points"):
        if name in alone["method"]:
            torch.testing.assert_close(end["method"][name], alone["method"][name], rtol=1e-6, atol=1e-8)
    assert alone["evaluations"] == pytest.approx(end["evaluations"])
    assert differences(start["energy"], end["energy"])


WEIGHTED = ["method=pcd", "method.weights=jarzynski", "method.witnesses=14"]


@pytest.mark.parametrize("sampler", ["mala", pytest.param("langevin", marks=pytest.mark.slow)])
def test_two_ranks_of_weighted_chains_are_one_process(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walkers are resampled all together: survivors go from each rank to the other."""
    words, took, came = [*WEIGHTED, f"sampler={sampler}", "method.l2=0.1"], Survivors.take, []

    def seen(self: Survivors, *values: Tensor) -> list[Tensor]:
        if self.ranks.size > 1 and self.rows is not None:
            came.append((self.ranks.index, self.rows // len(self.rows)))
        return took(self, *values)

    monkeypatch.setattr(Survivors, "take", seen)
    start, parameters, end = ran(words)
    assert 5 < len(came) < 2 * 2 * STEPS
    for index in range(2):
        assert any(bool((of != index).any()) for rank, of in came if rank == index)
    assert torch.equal(parameters[0], parameters[1])
    made = one_process(words, start, monkeypatch)
    torch.testing.assert_close(parameters[0], moved(made), rtol=1e-6, atol=1e-8)
    alone = made.state_dict()["method"]
    divided = [name for name in made.method.divided or () if name in alone and alone[name].dim()]
    assert len(divided) == 7
    for name in divided:
        torch.testing.assert_close(end["method"][name], alone[name], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_weighted_ranks_that_resample_apart_are_not_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with its own weights alone, each would drift."""

    def apart(log_weight: Tensor, rng: torch.Generator, ranks: Ranks) -> Pool:
        return pooled(log_weight, rng)

    monkeypatch.setattr("ebm_cli.methods.cd.pooled", apart)
    start, parameters, _ = ran(WEIGHTED)
    assert float((parameters[0] - moved(one_process(WEIGHTED, start, monkeypatch))).abs().max()) > 1e-4


class Deaf(ThreadRanks):
    """Ranks that do not hear one another's gradients."""

    def sum_(self, value: Tensor) -> Tensor:
        return value.mul_(self.size)


def test_ranks_that_do_not_speak_part() -> None:
    _, parameters, _ = ran(["method=sm"], Deaf)
    assert float((parameters[0] - parameters[1]).abs().max()) > 1e-3


def test_batches_of_an_epoch_are_divided() -> None:
    cfg = composed(*WORDS, "method=sm", "dataset.n_train=28")
    parts = assemble(cfg)
    streams = []
    for index in range(2):
        stream = parts.dataset.batches(14, seeded(0))
        stream.divide(Ranks(index, 2), seeded(1 + index))
        streams.append(stream)
    whole = parts.dataset.batches(14, seeded(0))
    for _ in range(4):
        assert torch.equal(torch.cat([stream.next() for stream in streams]), whole.next())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=15"], "batch_size must be a multiple of parallel.ranks = 2, got 15"),
        (["method=pcd", "method.buffer_size=63"], "method.buffer_size must be a multiple"),
        ([*WEIGHTED, "method.witnesses=13"], "method.witnesses must be a multiple of parallel.ranks = 2, got 13"),
        (["dataset.n_train=1"], "parallel.ranks must be at most the 1 training rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_divided_is_refused(words: list[str], message: str) -> None:
    cfg = composed(*WORDS, *words)
    with pytest.raises(UserError, match=message):
        make_trainer(cfg, assemble(cfg), None, Ranks(0, 2))


def test_method_that_does_not_say_how_is_refused() -> None:
    class Own(SM):
        divided = None

    with pytest.raises(ValueError, match="method=own: it does not say how it is divided"):
        Own().divide(Ranks(0, 2))


@pytest.mark.parametrize("words", [["method=pcd"], WEIGHTED], ids=["pcd", "weighted"])
def test_resumed_ranks_continue_bit_for_bit(words: list[str]) -> None:
    cfg = composed(*WORDS, *words, "dataset.n_train=40")

    def work(ranks: Ranks) -> tuple[Any, Any]:
        made = trainer_of(cfg, ranks)
        for _ in range(7):
            made.advance()
        stored = copy.deepcopy(made.state_dict())
        again = make_trainer(cfg, assemble(cfg), None, ranks)
        again.load_state_dict(stored)
        for trainer in (made, again):
            for _ in range(7):
                trainer.advance()
        return made.state_dict(), again.state_dict()

    for made, again in together(2, work):
        assert not differences(made, again)


def test_chains_of_all_ranks_are_in_each_once_training_has_ended() -> None:
    cfg = composed(*WORDS, *WEIGHTED)

    def work(ranks: Ranks) -> tuple[Any, Any, Any]:
        made = trainer_of(cfg, ranks)
        made.advance()
        before = copy.deepcopy(made.state_dict())
        made.unite()
        return before, made.state_dict(), dict(made.method.state_dict())

    for index, (before, after, alone) in enumerate(together(2, work)):
        assert not differences(before, after)
        assert not differences(before["method"] | before["ranks"][index]["method"], alone)


@pytest.mark.parametrize(("size", "own"), [(1, ["method=pcd"]), (4, [*WEIGHTED, "method.witnesses=16"])])
def test_state_is_taken_by_another_number(size: int, own: list[str]) -> None:
    cfg = composed(*WORDS, *own, "batch_size=16")
    stored = ran([*own, "batch_size=16"]).end

    def work(ranks: Ranks) -> tuple[Any, Tensor]:
        made = make_trainer(cfg, assemble(cfg), None, ranks)
        made.load_state_dict(stored)
        state = copy.deepcopy(made.state_dict())
        made.advance()
        return state, made.rng.get_state()

    found = together(size, work)
    state = found[0][0]
    for key in ("energy", "ema", "method", "optimizers"):
        assert not differences(state[key], stored[key])
    draws = [rng for _, rng in found] + [mine["rng"] for mine in stored["ranks"]]
    assert not any(torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_guards_of_all_ranks_see_the_loss_of_one() -> None:
    def work(ranks: Ranks) -> Diverged | None:
        guard = Guard(5, torch.device("cpu"), ranks=ranks)
        for step in range(1, 4):
            loss = float("nan") if ranks.index == 1 and step == 2 else 1.0
            guard.observe(step, torch.tensor(loss), torch.tensor(1.0))
        return guard.read()

    for found in together(2, work):
        assert found is not None
        assert found.step == 2


def test_signal_of_one_rank_stops_all_after_the_same_step() -> None:
    def work(ranks: Ranks) -> tuple[int, int | None]:
        signals, stop, step = Signals(), CommonStop(ranks, 0), 0
        while not stop.is_due(step, signals, False):
            step += 1
            time.sleep(0.001)
            if ranks.index == 1 and step == 20:
                signals.received = 15
        return step, signals.received

    first, second = together(2, work)
    assert first == second
    assert first[0] >= 20
    assert first[1] == 15
