"""Products and mixtures of energies: closed forms of Gaussians, and a run whose energy consists of other runs."""

import math
from pathlib import Path

import pytest
import torch

import ebm_cli
from ebm_cli.derivatives import supports
from ebm_cli.energies import MLP, Conv, Energy, Quadratic, Rescaled, Sum
from tests.support import FAST, Ebm, assert_same_derivatives, autograd_only, last, no_pictures, seeded


def gaussian(mean: float, precision: float, shape: tuple[int, ...] = (2,)) -> Quadratic:
    energy = Quadratic(shape, precision=precision).double()
    with torch.no_grad():
        energy.mean.fill_(mean)
    return energy


def log_normal(x: torch.Tensor, mean: float, precision: float) -> torch.Tensor:
    """Log density of N(mean, 1/precision), independent in every coordinate."""
    density = torch.distributions.Normal(x.new_tensor(mean), x.new_tensor(precision) ** -0.5)
    return density.log_prob(x).flatten(1).sum(1)


PAIR = {"a": (1.0, 2.0), "b": (-0.5, 0.5)}
"""Mean and precision of the members."""


def pair(**keys: object) -> Sum:
    energies = {name: gaussian(*moments) for name, moments in PAIR.items()}
    return Sum((2,), ["a", "b"], energies.__getitem__, **keys).double()  # type: ignore[arg-type]


def test_product_of_gaussians_adds_their_precisions() -> None:
    x = torch.randn(20, 2).double()
    energy = pair(weights=[2.0, 1.0])
    precision = 2 * 2.0 + 0.5
    mean = (2 * 2.0 * 1.0 - 0.5 * 0.5) / precision
    difference = energy(x) + log_normal(x, mean, precision)
    torch.testing.assert_close(difference, difference[0].expand(20))
    wrong = pair(weights=[1.0, 1.0])(x) + log_normal(x, mean, precision)
    assert wrong.std() > 0.1
    assert energy.log_z() is None
    assert energy.sample(3, torch.Generator()) is None


def test_mixture_of_gaussians_is_normalised_by_its_shares() -> None:
    x = torch.randn(20, 2).double()
    energy = pair(kind="mixture", weights=[2.0, 1.0])
    shares = torch.tensor([2 * 2 * math.pi / 2.0, 2 * math.pi / 0.5]).double()  # w Z, Z = 2π / precision in 2-D
    log_z = energy.log_z()
    assert log_z is not None
    torch.testing.assert_close(log_z.exp(), shares.sum())
    terms = torch.stack([log_normal(x, *moments) for moments in PAIR.values()])
    truth = (terms + (shares / shares.sum()).log().unsqueeze(1)).logsumexp(0)
    torch.testing.assert_close(-energy(x) - log_z, truth)


def test_mixture_samples_are_exact() -> None:
    """Mean and mean square of the mixture within 5 standard errors."""
    energy = pair(kind="mixture", weights=[2.0, 1.0])
    x = energy.sample(100_000, seeded())
    assert x is not None
    share = torch.tensor([2 / 2.0, 1 / 0.5]).double()
    share = share / share.sum()
    mean = sum(float(s) * m for s, (m, _) in zip(share, PAIR.values(), strict=True))
    square = sum(float(s) * (m * m + 1 / p) for s, (m, p) in zip(share, PAIR.values(), strict=True))
    assert ((x.mean(0) - mean).abs() < 5 * x.std(0) / len(x) ** 0.5).all()
    assert ((x.square().mean(0) - square).abs() < 5 * x.square().std(0) / len(x) ** 0.5).all()


@pytest.mark.parametrize("kind", ["product", "mixture"])
@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)], ids=str)
def test_sum_derivative_rules_equal_autograd(shape: tuple[int, ...], kind: str) -> None:
    torch.manual_seed(0)
    size = math.prod(shape)
    members: dict[str, Energy] = {
        "a": Quadratic(shape, precision=0.7),
        "b": Rescaled(MLP(shape, width=8), torch.rand(shape) + 0.5, torch.randn(shape)),
        "c": Conv(shape, width=2, depth=2) if size == 16 else MLP(shape, width=4),
    }
    weights = [0.5, 1.5, 0.7]
    energy = Sum(shape, list(members), members.__getitem__, kind=kind, weights=weights, train_weights=True)  # type: ignore[arg-type]
    energy.double()
    assert supports(energy)
    assert [name for name, _ in energy.named_parameters()] == ["weights"]
    x, v = torch.randn(4, *shape).double(), torch.randn(2, 4, *shape).double()
    assert_same_derivatives(energy, autograd_only(energy), x, v)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"checkpoints": ["a"]}, "^checkpoints must be two or more"),
        ({"weights": [1.0]}, "^weights must be 2 numbers, one"),
        ({"weights": [1.0, math.inf]}, "^weights must be 2 numbers, one"),
        ({"weights": [1.0, -1.0], "kind": "mixture"}, "^weights must be 2 numbers > 0"),
    ],
)
def test_sum_refuses_members_and_weights_that_do_not_fit(keys: dict[str, object], message: str) -> None:
    given = {"checkpoints": ["a", "b"], **keys}
    with pytest.raises(ValueError, match=message):
        Sum((2,), load_member=lambda path: gaussian(*PAIR[path]), **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^checkpoints must be for points of shape \[3\], got \[2\] in a"):
        Sum((3,), ["a", "b"], lambda path: gaussian(*PAIR[path]))


@pytest.mark.slow
def test_train_sum_of_other_runs(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of other units are frozen, the weights trained; a loaded sum is the trained one; misfits are refused."""
    no_pictures(monkeypatch)
    for name, dim in (("a", 3), ("b", 3), ("c", 2)):
        run = (f"hydra.run.dir={name}", f"dataset.density.dim={dim}", "steps=2", f"dataset.seed={ord(name)}")
        assert ebm("train", *FAST, *run, "dataset.n_train=50").code == 0
    words = [word for word in FAST if not word.startswith("energy.")]
    words += ["energy=sum", "energy.train_weights=true", "steps=3", "hydra.run.dir=sum", "dataset.n_train=50"]
    ran = ebm("train", *words, "energy.checkpoints=[a,b]")
    assert ran.code == 0, ran.err
    model, members = ebm_cli.load("sum"), [ebm_cli.load(name) for name in ("a", "b")]
    x = model.dataset.held_out(20)
    together = model.network(model.standardizer(x))
    w = last(Path("sum"))["ema"]["mean"]["energy.weights"]
    assert not torch.equal(w, torch.ones(2))
    jacobians = [m.standardizer.log_det - model.standardizer.log_det for m in members]
    alone = torch.stack([m.network(m.standardizer(x)) + j for m, j in zip(members, jacobians, strict=True)])
    torch.testing.assert_close(together, w @ alone, rtol=1e-5, atol=1e-5)
    assert not torch.equal(members[0].standardizer.scale, model.standardizer.scale)
    refused = ebm("train", *words[:-2], "energy.checkpoints=[a,c]", "hydra.run.dir=other", "dataset.n_train=50")
    assert (refused.code, "points of c have the shape [2], those of the others [3]" in refused.err) == (1, True)
    refused = ebm("train", *words[:-2], "energy.checkpoints=[a,gone]", "hydra.run.dir=other", "dataset.n_train=50")
    assert (refused.code, "energy.checkpoints: gone: no such file or directory" in refused.err) == (1, True)
    words = [*words[:-2], "energy.checkpoints=[a,b]", "hydra.run.dir=other", "method=sm"]
    refused = ebm("train", *words, "energy.train_weights=false")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "has no parameters to train" in refused.err
    assert not Path("other").exists()


def test_training_mode_changes_no_buffer_of_a_member() -> None:
    """Spectral normalisation changes its vectors in each forward pass of training mode; those of a member stay."""
    made: list[Energy] = []

    def load_member(path: str) -> Energy:
        made.append(Conv((1, 4, 4), width=2, depth=2, spectral_norm=True))
        return made[-1]

    energy = Sum((1, 4, 4), ["a", "b"], load_member, train_weights=True).train()
    before = {name: value.clone() for name, value in energy.state_dict().items()}
    energy(torch.randn(3, 1, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in energy.state_dict().items())
    alone = {name: value.clone() for name, value in made[0].state_dict().items()}
    made[0].train()(torch.randn(3, 1, 4, 4))
    assert not all(torch.equal(value, alone[name]) for name, value in made[0].state_dict().items())
