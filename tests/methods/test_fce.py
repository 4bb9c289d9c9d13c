"""Flow contrastive estimation: the two players and their turns."""

import pytest
import torch

from ebm_cli.densities import CouplingFlow, Gaussian
from ebm_cli.methods import FCE, NCE
from tests.methods.toys import correlated, mlp
from tests.support import seeded


def flow(seed: int = 0) -> CouplingFlow:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        q = CouplingFlow((2,), n_couplings=4, width=8).double()
    with torch.no_grad():
        for p in q.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=seeded(seed), dtype=p.dtype))
    return q


def test_fce_loss_is_nce_with_the_flow_as_noise() -> None:
    x, energy, q = correlated()[:100, :2], mlp(), flow()
    fce = FCE(q, log_z=0.2).double()
    nce = NCE(q, nu=1.0, log_z=0.2).double()
    torch.testing.assert_close(fce.loss(energy, x, seeded(3)).loss, nce.loss(energy, x, seeded(3)).loss)


def test_fce_flow_differentiates_through_its_samples() -> None:
    x, energy, q = correlated()[:100, :2], mlp(), flow()
    fce = FCE(q, threshold=0.6, turn_every=1).double()
    mine = fce.loss(energy, x, seeded(3))
    assert mine.player == "energy"
    fce.accuracy.fill_(0.9)
    theirs = fce.loss(energy, x, seeded(3))
    assert theirs.player == "flow"
    torch.testing.assert_close(theirs.loss, -mine.loss)
    grads = torch.autograd.grad(theirs.loss, fce.players(energy)["flow"], retain_graph=True)
    eps, first = 1e-6, fce.players(energy)["flow"][0]

    def value() -> float:
        out = fce.loss(energy, x, seeded(3))
        return float(out.loss.detach()) * (1 if out.player == "flow" else -1)

    with torch.no_grad():
        first[0, 0] += eps
        up = value()
        first[0, 0] -= 2 * eps
        down = value()
    # The whole derivative, including that of the samples.
    assert float(grads[0][0, 0]) == pytest.approx((up - down) / (2 * eps), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.5] * 12, "eeeeeeeeeeee"),
        # Read at steps 0, 3, 6 and 9 only.
        ([0.9, 0.5, 0.5] * 4, "fffeeefffeee"),
        ([0.5, 0.9, 0.9] * 4, "eeeeeeeeeeee"),
        ([0.5, 0.5, 0.5, 0.9, 0.9, 0.9] * 2, "eeefffeeefff"),
    ],
)
def test_fce_reads_the_accuracy_once_a_turn(accuracies: list[float], expected: str) -> None:
    x, energy = correlated()[:100, :2], mlp()
    fce = FCE(flow(), threshold=0.7, turn_every=3).double()
    players = ""
    for step, accuracy in enumerate(accuracies):
        fce.accuracy.fill_(accuracy)
        players += fce.loss(energy, x, seeded(step)).player[0]
    assert players == expected


def test_fce_players_are_disjoint_and_complete() -> None:
    energy = mlp()
    fce = FCE(flow()).double()
    players = fce.players(energy)
    ids = [id(p) for group in players.values() for p in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in [*energy.parameters(), *fce.parameters()]}


def test_fce_refuses_a_noise_without_parameters() -> None:
    with pytest.raises(ValueError, match=r"^noise must be a flow that can be trained"):
        FCE(Gaussian(correlated()))
