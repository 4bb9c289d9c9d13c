"""A joint step of several runs is the step of each, to rounding; batches and random numbers are theirs bit for bit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ebm_cli.densities import Uniform
from ebm_cli.energies import MLP, Energy
from ebm_cli.errors import UserError
from ebm_cli.methods import CNCE, NCE, LossOutput
from ebm_cli.methods.replicated.nce import ReplicatedNCE
from ebm_cli.methods.replicated.of_energies import ReplicatedOfEnergies, answered
from ebm_cli.replicas.step import JointStep
from ebm_cli.replicas.support import objective_of, require_supported
from ebm_cli.runs.assemble import assemble
from tests.replicas.pairs import distance, forget_constant, trainers
from tests.support import composed, differences

OBJECTIVES = [
    ("method=nce",),
    pytest.param(("method=nce", "method.nu=3", "optimizer=sgd"), marks=pytest.mark.slow),
    pytest.param(("method=nce", "noise=flow", "method.fit_steps=2", "clip_grad_norm=0.1"), marks=pytest.mark.slow),
    ("method=nce", "method.objective=self_normalised", "method.nu=2", "method.redraw=false"),
    ("method=bridges", "method.width=8"),
    pytest.param(("method=bridges", "method.n_bridges=1"), marks=pytest.mark.slow),
    ("method=sm",),
    pytest.param(("method=sm", "method.whiten=true", "dataset.seed=${seed}"), marks=pytest.mark.slow),
    ("method=ssm", "method.n_projections=3"),
    pytest.param(
        ("method=ssm", "method.variance_reduction=false", "method.whiten=true", "dataset=gaussian"),
        marks=pytest.mark.slow,
    ),
    ("method=dsm", "energy.activation=tanh"),
]
OF_DIFFERENCES = [
    ("method=ssm", "method.estimator=finite_difference", "dataset=gaussian"),
    ("method=nce", "method.objective=ranking", "method.nu=2"),
    ("method=cnce", "method.n_copies=3", "method.eps_least=0.1"),
    ("method=ed", "method.whiten=true"),
    ("method=mle", "method.n_grid=8"),
]


@pytest.mark.parametrize("words", OBJECTIVES + OF_DIFFERENCES)
def test_replicas_equal_their_own_runs(words: tuple[str, ...]) -> None:
    together, alone = trainers([3, 4], *words), trainers([3, 4], *words)
    joint = JointStep(together)
    for _ in range(20):
        found, own = joint(), [one.advance() for one in alone]
    if words in OF_DIFFERENCES:
        forget_constant([*together, *alone])
    for ours, theirs, out, expected in zip(together, alone, found, own, strict=True):
        assert distance(ours, theirs) < 1e-5
        assert float(out.loss) == pytest.approx(float(expected.loss.detach()), rel=1e-4, abs=1e-6)
        assert out.metrics.keys() == expected.metrics.keys()
        assert out.evaluations == expected.evaluations
        state, reference = ours.state_dict(), theirs.state_dict()
        for key in ("step", "rng", "batches", "schedules", "evaluations"):
            assert differences(state[key], reference[key]) == []
    # The control: neighbouring seeds are other runs.
    assert distance(together[0], alone[1]) > 0.1


def test_run_that_leaves_goes_on_alone() -> None:
    together, alone = trainers([1, 2, 3], "method=nce"), trainers([1, 2, 3], "method=nce")
    joint = JointStep(together)
    for _ in range(3):
        joint()
    left = together.pop(1)
    joint = JointStep(together)
    for _ in range(3):
        joint()
        left.advance()
    for _ in range(6):
        for one in alone:
            one.advance()
    for ours, theirs in zip([together[0], left, together[1]], alone, strict=True):
        assert ours.step == 6
        assert distance(ours, theirs) < 1e-5


def test_diverged_run_leaves_the_others_as_they_are() -> None:
    together, alone = trainers([1, 2], "method=nce"), trainers([1], "method=nce")
    joint = JointStep(together)
    with torch.no_grad():
        together[1].players["energy"].flat.values.fill_(float("nan"))
    for _ in range(2):
        joint()
        alone[0].advance()
    assert distance(together[0], alone[0]) < 1e-6
    assert together[0].guard.read() is None
    assert together[1].guard.read() is not None


def test_subclass_of_a_method_must_declare_its_own_losses() -> None:
    class Other(NCE):
        """A method of a user, with another loss."""

    class OtherLoss(CNCE):
        """Another one, whose loss is not that of its query."""

        def loss(self, energy: Energy, x: torch.Tensor, rng: torch.Generator) -> LossOutput:
            raise NotImplementedError

    noise = Uniform(torch.eye(2))
    assert objective_of(NCE(noise)) is ReplicatedNCE
    assert objective_of(CNCE()) is ReplicatedOfEnergies
    assert [objective_of(other) for other in (Other(noise), OtherLoss())] == [None, None]


def test_method_without_losses_of_several_runs_is_refused() -> None:
    class Other(CNCE):
        """A method of a user, with another loss."""

        def loss(self, energy: Energy, x: torch.Tensor, rng: torch.Generator) -> LossOutput:
            raise NotImplementedError

    cfg = composed("dataset=moons", "energy=mlp", "method=cnce")
    parts = assemble(cfg)
    require_supported(cfg, parts)
    with pytest.raises(UserError, match=r"^replicas cannot be trained with method other, .* one by one; a sweep"):
        require_supported(cfg, replace(parts, method=Other()))


def test_method_with_parameters_of_its_own_is_refused() -> None:
    class Scaled(CNCE):
        """A method of a user that trains a number, which is in no stack."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

    assert ReplicatedOfEnergies.refusal(CNCE()) is None
    assert "parameters of its own" in str(ReplicatedOfEnergies.refusal(Scaled()))


def test_queries_of_different_sizes_are_an_error() -> None:
    energy = MLP((2,), width=4)
    query = CNCE().query(energy, torch.zeros(3, 2), torch.Generator())
    with pytest.raises(ValueError, match="as many points"):
        answered(energy, [query, query._replace(points=query.points[1:])])
