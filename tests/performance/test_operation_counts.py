"""Cost of a step in counts, which no other program on the machine changes.

Evaluations of an energy by every method; and operations on tensors, each of them a kernel launch on a GPU and
microseconds on a CPU, by the methods and kernels that run for long. Operations are compared with those of one
evaluation of the energy, so that a new version of torch changes both.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies import MLP, Energy, NetworkEnergy
from ebm_cli.methods import LossOutput
from ebm_cli.runs.assemble import assemble
from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.training.build import make_trainer
from tests.performance.operations import BATCH, Operations, parts_of, rows
from tests.support import METHODS, composed, seeded


class Counted(Energy, Differentiable):
    """An energy that counts points: of f alone, of ∇f, and of second derivatives, times their directions."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.shape = energy.shape
        self.energy = energy
        self.count: Counter[str] = Counter()

    def forward(self, x: Tensor) -> Tensor:
        self.count["energy"] += len(x)
        value: Tensor = self.energy(x)
        return value

    def log_z(self) -> Tensor | None:
        return self.energy.log_z()

    def row_space(self) -> tuple[Tensor, Tensor] | None:
        assert isinstance(self.energy, NetworkEnergy)
        return self.energy.row_space()

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        if jet.first is not None:
            self.count["second"] += len(jet.first) * len(jet.value)
        out, through = sweep(self.energy, jet)

        def pullback(g: Tensor) -> Tensor:
            self.count["grad"] += len(jet.value)
            return through(g)

        return out, pullback


# --- evaluations ------------------------------------------------------------------------------------------------------

# Of a step, per data row: f alone, ∇f, and second derivatives, D directions of which make a Laplacian.
EVALUATIONS: dict[str, tuple[list[str], dict[str, float]]] = {
    "sm": ([], {"second": 2}),
    "sm, wider than its first layer": (
        ["dataset=gaussian", "dataset.density.dim=10", "energy.width=8"],
        {"grad": 1, "second": 8},
    ),
    "ssm": ([], {"grad": 1, "second": 2}),
    "ssm, 3 projections": (["method.n_projections=3"], {"grad": 1, "second": 3}),
    "ssm, slopes alone": (["method.variance_reduction=false"], {"second": 2}),
    "ssm, differences": (["method.estimator=finite_difference"], {"energy": 5}),
    "dsm": ([], {"grad": 1}),
    "nce": ([], {"energy": 2}),
    "nce, 3 noise rows": (["method.nu=3"], {"energy": 4}),
    "bridges": ([], {"energy": 2}),
    "nce, ranking": (["method.objective=ranking", "method.nu=3"], {"energy": 4}),
    "nce, self-normalised": (["method.objective=self_normalised"], {"energy": 2}),
    "fce": ([], {"energy": 2}),
    "ed": ([], {"energy": 5}),
    "cnce": ([], {"energy": 2}),
    "cnce, 3 copies": (["method.n_copies=3"], {"energy": 4}),
    "mle": (["method.n_grid=8"], {"energy": 1 + 8**2 / BATCH}),
    "cd": (["sampler=langevin", "method.k=5"], {"energy": 2, "grad": 5}),
    "cd, mala": (["sampler=mala", "method.k=5"], {"energy": 2, "grad": 6}),
    "cd, hmc": (["sampler=hmc", "sampler.n_leapfrog=3", "method.k=2"], {"energy": 2, "grad": 7}),
    "pcd": (["sampler=mala", "method.k=5"], {"energy": 2, "grad": 6}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_step_evaluates_the_energy_as_often_as_it_says(name: str) -> None:
    words, expected = EVALUATIONS[name]
    parts = parts_of(f"method={name.partition(',')[0]}", *words)
    energy = Counted(parts.energy)
    out = parts.method.loss(energy, rows(parts), seeded())
    assert {key: count / BATCH for key, count in energy.count.items()} == expected
    # The reported cost agrees; a Laplacian counts as one, whatever it takes.
    assert out.evaluations.energy == expected.get("energy", 0)
    assert (out.evaluations.laplacian > 0) == ("second" in expected)


def test_evaluations_of_every_method_are_counted() -> None:
    assert {name.partition(",")[0] for name in EVALUATIONS} == set(METHODS)


@pytest.mark.parametrize(("kernel", "expected"), [(Langevin(), 5), (MALA(0.1), 6), (HMC(0.1, n_leapfrog=3), 16)])
def test_five_transitions_take_few_gradients(kernel: Kernel, expected: int) -> None:
    """One a step, L in a step of L leapfrogs, and one more at the start of a chain with a correction."""
    energy = Counted(MLP((2,), width=4))
    run(kernel, energy, torch.zeros(1, 2), 5, seeded())
    assert energy.count == {"grad": expected}
    assert kernel.evaluations(5).grad == expected


# --- operations -------------------------------------------------------------------------------------------------------


def operations(act: Callable[[], Any]) -> Counter[str]:
    act()  # what is made once
    with Operations() as counted:
        act()
    return counted.found


def in_evaluations(found: Counter[str], energy: Energy, x: Tensor, inputs: list[Tensor]) -> float:
    """Operations in units of one evaluation of the energy with its gradient, counted with the same version of torch."""

    def evaluate() -> None:
        torch.autograd.grad(energy(x).sum(), inputs)

    return found.total() / operations(evaluate).total()


# Of the loss and its gradient; a fifth above what it takes. `pytest -rP` on this file prints what it is made of.
STEPS: dict[str, tuple[list[str], float]] = {
    "sm": ([], 6.8),
    "ssm": ([], 7.3),
    "dsm": ([], 4.3),
    "nce": ([], 3.8),
    "ed": ([], 2.9),
    "cnce": ([], 2.6),
    "fce": (["noise.n_couplings=4"], 9.7),
    "cd": (["sampler=langevin", "method.k=5"], 10.0),
    "pcd": (["sampler=mala", "method.k=5"], 18.8),
}


@pytest.mark.parametrize("name", STEPS)
def test_loss_takes_few_operations(name: str) -> None:
    words, most = STEPS[name]
    parts = parts_of(f"method={name}", "energy.depth=2", *words)
    x, rng = rows(parts), seeded()
    players = parts.method.players(parts.energy)

    def step() -> None:
        out = parts.method.loss(parts.energy, x, rng)
        out.loss.backward(inputs=players[out.player])

    found = operations(step)
    print(f"{name}: {found.total()} operations", dict(found.most_common()))
    assert in_evaluations(found, parts.energy, x, list(parts.energy.parameters())) <= most


TRANSITIONS: list[tuple[Kernel, float]] = [(Langevin(), 1.3), (MALA(0.1), 2.6), (HMC(0.1, n_leapfrog=3), 5.5)]


@pytest.mark.parametrize(("kernel", "most"), TRANSITIONS, ids=lambda v: type(v).__name__)
def test_transition_takes_few_operations(kernel: Kernel, most: float) -> None:
    energy, rng = MLP((2,), width=8, depth=2), seeded()
    state = kernel.init(energy, torch.randn(5, 2), rng)
    with torch.no_grad():
        found = operations(lambda: kernel.step(energy, state, rng))
    print(f"{type(kernel).__name__}: {found.total()} operations", dict(found.most_common()))
    x = torch.randn(5, 2, requires_grad=True)
    assert in_evaluations(found, energy, x, [x]) <= most


def idle(parameters: Iterable[Tensor], metrics: Iterable[str]) -> Callable[..., LossOutput]:
    """Loss of a method that does nothing: one number, with a gradient for each parameter."""
    given, shown = list(parameters), {name: torch.zeros(()) for name in metrics}

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            return torch.zeros(())

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return tuple(torch.zeros_like(p) for p in given)

    return lambda energy, x, rng: LossOutput(Nothing.apply(*given), shown)  # type: ignore[no-untyped-call]


def test_step_beside_the_loss_is_one_pass_over_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation of the trainer and the optimizer works on all parameters at once, whatever their number."""

    def counted(*words: str) -> Counter[str]:
        cfg = composed("method=nce", "dataset=moons", "energy=mlp", "log_every=10", *words)
        parts = assemble(cfg)
        trainer = make_trainer(cfg, parts)
        parameters = parts.method.players(parts.energy)["energy"]
        symptoms = [symptom.metric for symptom in parts.method.symptoms()]
        monkeypatch.setattr(parts.method, "loss", idle(parameters, symptoms))
        # The first step draws the block that batches are cut from, the second one makes the optimizer's state.
        trainer.advance()
        found = operations(trainer.advance)
        # Of the idle loss; autograd detaches each gradient that it returns, a view that computes nothing.
        return found - Counter({"zeros": 1, "zeros_like": len(parameters), "detach": found["detach"]})

    found = counted()
    assert found.total() <= 16, found
    assert counted("energy.depth=4") == found
