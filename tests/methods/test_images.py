"""Every method trains an energy of images, and resumes bit for bit with a spectral norm."""

import copy
import io

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import CouplingFlow, Gaussian
from ebm_cli.energies import Conv, ResNet
from ebm_cli.methods import CD, DSM, FCE, NCE, SM, SSM, Method
from ebm_cli.samplers.langevin import Langevin
from tests.support import seeded

SHAPE = (1, 4, 4)
KINDS = [Conv, ResNet]
METHODS = ["cd", "pcd", "sm", "ssm", "dsm", "nce", "fce"]


def rows(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=seeded(seed))


def make_method(name: str) -> Method:
    noise, chain = Gaussian(rows(100)), Langevin(step_size=0.01)
    method: Method = {
        "cd": lambda: CD(SHAPE, chain, noise, k=2),
        "pcd": lambda: CD(SHAPE, chain, noise, k=2, start="persistent", buffer_size=32),
        "sm": SM,
        "ssm": SSM,
        "dsm": DSM,
        "nce": lambda: NCE(noise),
        "fce": lambda: FCE(CouplingFlow(SHAPE, n_couplings=2, width=8)),
    }[name]()
    return method


class Run:
    """A minimal training loop with its complete state."""

    def __init__(self, cls: type[Conv] | type[ResNet], name: str, seed: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.energy = cls(SHAPE, width=4, depth=2, spectral_norm=True)
            self.method = make_method(name)
        self.rng = seeded(seed)
        self.method.validate(self.energy, 8)
        self.method.prepare(rows(100), self.rng)
        self.parameters = self.method.players(self.energy)["energy"]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3)

    def advance(self, n: int) -> None:
        for _ in range(n):
            out = self.method.loss(self.energy, torch.randn(8, *SHAPE, generator=self.rng), self.rng)
            assert out.player == "energy"
            self.optimizer.zero_grad()
            out.loss.backward(inputs=self.parameters)  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def state(self) -> dict[str, object]:
        parts = {"energy": self.energy, "method": self.method, "optimizer": self.optimizer}
        return {"rng": self.rng.get_state(), **{name: part.state_dict() for name, part in parts.items()}}

    def load(self, state: dict[str, object]) -> None:
        for name in ("energy", "method", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cls", KINDS)
def test_method_trains_every_weight_of_an_image_energy(cls: type[Conv] | type[ResNet], name: str) -> None:
    run = Run(cls, name, 0)
    before = copy.deepcopy(dict(run.energy.named_parameters()))
    run.advance(2)
    # Neither a score nor a difference of energies depends on the constant of the energy.
    constant = set() if name in ("nce", "fce") else {f"network.{len(run.energy.network) - 1}.bias"}  # type: ignore[arg-type]
    unchanged = {key for key, p in run.energy.named_parameters() if torch.equal(p, before[key])}
    assert unchanged <= constant
    assert all(p.isfinite().all() for p in run.energy.parameters())


@pytest.mark.parametrize("name", ["pcd", "sm", "nce"])
@pytest.mark.parametrize("cls", KINDS)
def test_training_of_an_image_energy_resumes_bit_for_bit(cls: type[Conv] | type[ResNet], name: str) -> None:
    whole, begun, resumed = Run(cls, name, 0), Run(cls, name, 0), Run(cls, name, 1)
    whole.advance(6)
    begun.advance(3)
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    resumed.load(torch.load(file, weights_only=True))
    resumed.advance(3)
    for a, b in zip(whole.energy.state_dict().values(), resumed.energy.state_dict().values(), strict=True):
        assert torch.equal(a, b)
