"""Replicas of flow contrastive estimation: at one step the energies of some runs learn, and the flows of the others."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ebm_cli.methods import FCE, LossOutput
from ebm_cli.replicas.step import JointStep
from ebm_cli.training.trainer import Trainer
from tests.replicas.pairs import distance, trainers
from tests.support import differences

FCE_WORDS = ("method=fce", "method.turn_every=2", "method.threshold=0.6", "batch_size=32")
COUPLINGS = ("noise=flow", "noise.n_couplings=2", "noise.width=8")
REFERENCE = (
    *("noise=reference_flow", "noise.n_couplings=2", "noise.width=8"),
    *("noise.reference.family=gaussian", "noise.reference.marginals=none"),
)
LINE = ("noise=flow", "noise.width=8", "dataset=gaussian", "dataset.density.dim=1")
PLAYERS = ("energy", "flow")
SEEDS = (3, 4, 5)


def started(*words: str) -> list[Trainer]:
    """Runs whose classifiers begin with different accuracies, so that they take turns at different steps."""
    made = trainers(SEEDS, *FCE_WORDS, *words)
    for one, accuracy in zip(made, (0.5, 0.66, 0.99), strict=True):
        fce_of(one).accuracy.fill_(accuracy)
    return made


def fce_of(one: Trainer) -> FCE:
    assert isinstance(one.method, FCE)
    return one.method


def turns(found: Sequence[LossOutput]) -> str:
    """Whose turn it is in each run: e or f."""
    return "".join(out.player[0] for out in found)


def counts(one: Trainer, player: str) -> list[float]:
    """Steps that the optimizer of a player has taken, by parameter."""
    state = one.players[player].optimizer.state_dict()["state"]
    return [float(state[i]["step"]) for i in sorted(state)]


@pytest.mark.parametrize(
    "words",
    [
        COUPLINGS,
        (*COUPLINGS, "dtype=float64", "clip_grad_norm=0.05", "schedule=constant"),
        pytest.param((*COUPLINGS, "optimizer=sgd"), marks=pytest.mark.slow),
        pytest.param(REFERENCE, marks=pytest.mark.slow),
        pytest.param(LINE, marks=pytest.mark.slow),
        pytest.param(("noise=zuko_nsf", "noise.n_transforms=2", "noise.width=8"), marks=pytest.mark.slow),
    ],
)
def test_replicas_with_turns_equal_their_own_runs(words: tuple[str, ...]) -> None:
    together, alone = started(*words), started(*words)
    joint, taken = JointStep(together), []
    for _ in range(10):
        found, own = joint(), [one.advance() for one in alone]
        taken.append(turns(found))
        assert taken[-1] == turns(own)
        for out, expected in zip(found, own, strict=True):
            assert out.evaluations == expected.evaluations
            assert out.metrics.keys() == expected.metrics.keys()
            assert float(out.metrics["accuracy"]) == float(expected.metrics["accuracy"])
            for key, value in {**expected.metrics, "loss": expected.loss.detach()}.items():
                assert float({**out.metrics, "loss": out.loss}[key]) == pytest.approx(float(value), rel=1e-4, abs=1e-6)
    # Some steps move energies in some runs and flows in others, in groups that change.
    assert len({of_step for of_step in taken if len(set(of_step)) == 2}) > 1
    tolerance = 1e-12 if "dtype=float64" in words else 1e-5
    for ours, theirs in zip(together, alone, strict=True):
        assert max(distance(ours, theirs, player) for player in PLAYERS) < tolerance
        assert float(ours.grad_norm) == pytest.approx(float(theirs.grad_norm), rel=1e-3)
        state, reference = ours.state_dict(), theirs.state_dict()
        for key in ("step", "rng", "batches", "schedules", "evaluations"):
            assert differences(state[key], reference[key]) == []
        assert state["ema"]["count"] == reference["ema"]["count"]
        for key in ("accuracy", "_extra_state"):
            assert differences(state["method"][key], reference["method"][key]) == []
        for player in PLAYERS:
            if "optimizer=sgd" not in words:
                assert counts(ours, player) == counts(theirs, player)
    # The control: neighbouring seeds are other runs.
    assert distance(together[0], alone[1]) > 0.1


def test_player_that_waits_keeps_every_bit() -> None:
    together = started(*COUPLINGS)
    joint = JointStep(together)

    def players(one: Trainer) -> dict[str, Any]:
        state = {name: [one.players[name].flat.values, one.players[name].optimizer.state_dict()] for name in PLAYERS}
        return copy.deepcopy(state)

    moved = set()
    for _ in range(9):
        before = [players(one) for one in together]
        for one, old, out in zip(together, before, joint(), strict=True):
            new, (waits,) = players(one), [name for name in PLAYERS if name != out.player]
            # The schedule advances with the global step: the learning rate is no part of what a player learns.
            changed = [path for path in differences(new, old) if not path.endswith(".lr")]
            assert not [path for path in changed if path.startswith(f".{waits}")]
            assert f".{out.player}[0]" in changed
            moved.add(out.player)
    assert moved == set(PLAYERS)


def test_replicas_with_turns_resume_to_the_same_bits() -> None:
    """In the middle of a turn; one of them alone, too."""
    whole = started(*COUPLINGS)
    joint, states, history = JointStep(whole), list[dict[str, Any]](), list[str]()
    for step in range(9):
        if step == 5:
            states = [copy.deepcopy(one.state_dict()) for one in whole]
        history.append(turns(joint()))
    resumed = trainers(SEEDS, *FCE_WORDS, *COUPLINGS)
    [alone] = trainers(SEEDS[-1:], *FCE_WORDS, *COUPLINGS)
    for mine, state in zip([*resumed, alone], [*states, states[-1]], strict=True):
        mine.load_state_dict(copy.deepcopy(state))
    again = JointStep(resumed)
    assert [turns(again()) for _ in range(4)] == history[5:]
    for mine, expected in zip(resumed, whole, strict=True):
        assert differences(mine.state_dict(), expected.state_dict()) == []
    for _ in range(4):
        alone.advance()
    assert max(distance(alone, whole[-1], player) for player in PLAYERS) < 1e-5


def test_run_that_leaves_takes_its_turn_along() -> None:
    together, alone = started(*COUPLINGS), started(*COUPLINGS)
    joint = JointStep(together)
    for _ in range(5):
        joint()
    left = together.pop(1)
    joint = JointStep(together)
    for _ in range(5):
        joint()
        left.advance()
    for one in alone:
        for _ in range(10):
            one.advance()
    for ours, theirs in zip([together[0], left, together[1]], alone, strict=True):
        assert max(distance(ours, theirs, player) for player in PLAYERS) < 1e-5
        assert fce_of(ours).get_extra_state() == fce_of(theirs).get_extra_state()


def test_diverged_flow_leaves_the_other_runs_as_they_are() -> None:
    together, alone = started(*COUPLINGS), started(*COUPLINGS)
    joint = JointStep(together)
    with torch.no_grad():
        together[2].players["flow"].flat.values.fill_(float("nan"))
    for _ in range(4):
        joint()
        for one in alone:
            one.advance()
    for ours, theirs in zip(together[:2], alone, strict=False):
        assert max(distance(ours, theirs, player) for player in PLAYERS) < 1e-6
        assert ours.guard.read() is None
    assert together[2].guard.read() is not None
