"""What a step costs, in numbers that no other program on the machine changes.

Evaluations of an energy by every method; operations on tensors, each of them a kernel launch on a GPU and microseconds
on a CPU, by the methods and kernels that are run for long; and values that the host waits for.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies import MLP, Energy, NetworkEnergy
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.instantiate import Parts
from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.training.build import make_trainer
from tests.support import METHODS, composed

BATCH = 16


class Counted(Energy, Differentiable):
    """An energy that counts points: of f alone, of ∇f, and, times their directions, of second derivatives."""

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


def parts_of(*words: str) -> Parts:
    parts = assemble(composed(f"batch_size={BATCH}", *words))
    rng = torch.Generator().manual_seed(0)
    parts.method.prepare(parts.dataset.reference, rng)
    return parts


def rows(parts: Parts) -> Tensor:
    return parts.dataset.batches(BATCH, torch.Generator().manual_seed(0)).next()


# --- evaluations ------------------------------------------------------------------------------------------------------

# Of a step, per data row: f alone, ∇f, and second derivatives, of which D directions are a Laplacian.
EVALUATIONS: dict[str, tuple[list[str], dict[str, float]]] = {
    "sm": ([], {"second": 2}),
    "sm, wider than its first layer": (
        ["dataset=gaussian", "dataset.density.dim=10", "energy.width=8"],
        {"grad": 1, "second": 8},
    ),
    "ssm": ([], {"grad": 1, "second": 1}),
    "ssm, 3 projections": (["method.n_projections=3"], {"grad": 1, "second": 3}),
    "ssm, slopes alone": (["method.variance_reduction=false"], {"second": 1}),
    "dsm": ([], {"grad": 1}),
    "nce": ([], {"energy": 2}),
    "nce, 3 noise rows": (["method.nu=3"], {"energy": 4}),
    "fce": ([], {"energy": 2}),
    "mle": (["method.n_grid=8"], {"energy": 1 + 8**2 / BATCH}),
    "cd": (["sampler=langevin", "method.k=5"], {"energy": 2, "grad": 5}),
    "cd, mala": (["sampler=mala", "method.k=5"], {"energy": 2, "grad": 6}),
    "cd, hmc": (["sampler=hmc", "sampler.n_leapfrog=3", "method.k=2"], {"energy": 2, "grad": 7}),
    "pcd": (["sampler=mala", "method.k=5"], {"energy": 2, "grad": 6}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_of_a_step(name: str) -> None:
    words, expected = EVALUATIONS[name]
    parts = parts_of(f"method={name.partition(',')[0]}", *words)
    energy = Counted(parts.energy)
    out = parts.method.loss(energy, rows(parts), torch.Generator().manual_seed(0))
    assert {key: count / BATCH for key, count in energy.count.items()} == expected
    # And what the run says that it cost; a Laplacian is one, whatever it takes.
    assert out.evaluations.energy == expected.get("energy", 0)
    assert (out.evaluations.laplacian > 0) == ("second" in expected)


def test_every_method_is_counted() -> None:
    assert {name.partition(",")[0] for name in EVALUATIONS} == set(METHODS)


@pytest.mark.parametrize(("kernel", "expected"), [(Langevin(), 5), (MALA(0.1), 6), (HMC(0.1, n_leapfrog=3), 16)])
def test_gradients_of_five_transitions(kernel: Kernel, expected: int) -> None:
    """One a step, L a step of L leapfrogs, and where a chain with a correction starts."""
    energy = Counted(MLP((2,), width=4))
    run(kernel, energy, torch.zeros(1, 2), 5, torch.Generator().manual_seed(0))
    assert energy.count == {"grad": expected}
    assert kernel.evaluations(5).grad == expected


# --- operations -------------------------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Counts what is done to tensors; a view, and memory that nothing is written to, are nothing done."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(op.overloadpacket).removeprefix("aten.")
        if not op.is_view and name not in ("_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty"):
            self.found[name] += 1
        return op(*args, **(kwargs or {}))


def operations(act: Callable[[], Any]) -> Counter[str]:
    act()  # what is made once
    with Operations() as counted:
        act()
    return counted.found


# Of the loss and its gradient. The numbers are what it takes now: one that becomes smaller is to be written down here,
# one that becomes larger is a step that became slower. `pytest -rP` on this file prints what they are made of.
STEPS: dict[str, tuple[list[str], int]] = {
    "sm": ([], 114),
    "ssm": ([], 121),
    "dsm": ([], 71),
    "nce": ([], 62),
    "fce": (["noise.n_couplings=4"], 162),
    "cd": (["sampler=langevin", "method.k=5"], 167),
    "pcd": (["sampler=mala", "method.k=5"], 315),
}


@pytest.mark.parametrize("name", STEPS)
def test_operations_of_a_step(name: str) -> None:
    words, most = STEPS[name]
    parts = parts_of(f"method={name}", "energy.depth=2", *words)
    x, rng = rows(parts), torch.Generator().manual_seed(0)
    players = parts.method.players(parts.energy)

    def step() -> None:
        out = parts.method.loss(parts.energy, x, rng)
        out.loss.backward(inputs=players[out.player])

    found = operations(step)
    print(f"{name}: {found.total()} operations", dict(found.most_common()))
    assert found.total() <= most


TRANSITIONS: list[tuple[Kernel, int]] = [(Langevin(), 21), (MALA(0.1), 43), (HMC(0.1, n_leapfrog=3), 91)]


@pytest.mark.parametrize(("kernel", "most"), TRANSITIONS, ids=lambda v: type(v).__name__)
def test_operations_of_a_transition(kernel: Kernel, most: int) -> None:
    energy, rng = MLP((2,), width=8, depth=2), torch.Generator().manual_seed(0)
    state = kernel.init(energy, torch.randn(5, 2), rng)
    with torch.no_grad():
        found = operations(lambda: kernel.step(energy, state, rng))
    print(f"{type(kernel).__name__}: {found.total()} operations", dict(found.most_common()))
    assert found.total() <= most


# --- what the host waits for ------------------------------------------------------------------------------------------

WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")
"""Operations whose result decides what the host does next: on a GPU it waits for all that was asked for before."""


@pytest.mark.parametrize(
    ("method", "expected"),
    [("sm", 0), ("ssm", 0), ("dsm", 0), ("nce", 0), ("mle", 0), ("fce", 4), ("cd", 3), ("pcd", 3)],
)
def test_a_loss_waits_for_nothing(method: str, expected: int) -> None:
    """In 20 losses: a turn of fce reads its accuracy, and cd every fifth time that of its chains."""
    parts = parts_of(f"method={method}", *(["method.turn_every=5"] if method == "fce" else []))
    x, rng = rows(parts), torch.Generator().manual_seed(0)
    with Operations() as counted:
        for _ in range(20):
            out = parts.method.loss(parts.energy, x, rng)
            out.loss.backward(inputs=parts.method.players(parts.energy)[out.player])
    assert sum(counted.found[name] for name in WAITS) <= expected


def test_a_wait_is_seen() -> None:
    """The control."""
    with Operations() as counted:
        assert float(torch.ones(2).sum()) == 2
    assert sum(counted.found[name] for name in WAITS) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", METHODS)
def test_nothing_waits_for_the_gpu_between_logged_steps(method: str) -> None:
    """Three steps, fewer than fce and cd take between two looks."""
    cfg = composed(f"method={method}", "device=cuda", "log_every=100", "steps=100")
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    trainer.advance()  # what is made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
