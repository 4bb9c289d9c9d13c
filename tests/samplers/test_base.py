"""Every kernel: chains are independent and reproducible, costs are as stated, states and numbers are validated."""

import gc
import inspect
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import Info, Kernel, State, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.mclmc import MCLMC
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.tempering import Tempering
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import BANANA, KERNELS, MIXTURE, name_of
from tests.support import REPO, normal, seeded

CONF = sorted((REPO / "conf" / "sampler").glob("*.yaml"))


# Cost


@pytest.mark.parametrize(
    ("kernel", "gradients", "values"),
    [
        (Langevin(), 6, 0),
        (MALA(), 1 + 6, 0),
        (HMC(n_leapfrog=4), 1 + 4 * 6, 0),
        (Metropolis(), 0, 1 + 6),
        (Underdamped(), 1 + 6, 0),
        (Tempering(), 1 + 6, 0),
        (Tempering(0.01, kernel=Langevin(), n_moves=2), 2 * 6, 6),
        (Tempering(0.25, kernel=Metropolis(), n_moves=3), 0, 1 + 3 * 6),
        (MCLMC(), 1 + 2 * 6, 0),
    ],
    ids=lambda p: name_of(p) if isinstance(p, Kernel) else str(p),
)
def test_kernel_evaluates_as_often_as_it_states(kernel: Kernel, gradients: int, values: int) -> None:
    calls = {True: 0, False: 0}
    n_replicas = len(kernel.betas) if isinstance(kernel, Tempering) else 1

    def counted(x: Tensor) -> Tensor:
        calls[x.requires_grad] += 1
        assert len(x) == 3 * n_replicas
        return harmonic(x)

    run(kernel, counted, normal(3, 2), 6, seeded())
    assert (calls[True], calls[False]) == (gradients, values)
    assert kernel.evaluations(6) == (n_replicas * values, n_replicas * gradients)


def live_tensors() -> int:
    kinds = Counter(map(type, gc.get_objects()))
    return sum(n for kind, n in kinds.items() if issubclass(kind, Tensor))


def growth(kernel: Kernel) -> int:
    """Tensors alive at step 60 more than at step 10; the gradient's graph must not live on either."""
    counts: dict[int, int] = {}

    def count(i: int) -> dict[str, float]:
        if i in (10, 60):
            counts[i] = live_tensors()
        return {}

    # Cyclic garbage of earlier tests must not be collected between the two counts.
    gc.collect()
    gc.disable()
    try:
        state, _ = run(kernel, harmonic, normal(4, 2).requires_grad_(), 61, seeded(), schedule=count)
    finally:
        gc.enable()
    assert not any(t.requires_grad for t in (state.x, state.energy, state.grad, *state.aux.values()) if t is not None)
    return counts[60] - counts[10]


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_kernel_keeps_no_tensors_of_past_steps(kernel: Kernel) -> None:
    assert growth(kernel) == 0


def test_control_growth_detects_a_kernel_that_keeps_them() -> None:
    @dataclass(frozen=True)
    class Hoarder(Kernel):
        step_size: float = 1.0

        def init(self, energy: Callable[[Tensor], Tensor], x: Tensor, rng: torch.Generator) -> State:
            return State(x, None, None, {})

        def step(self, energy: Callable[[Tensor], Tensor], state: State, rng: torch.Generator) -> tuple[State, Info]:
            return State(state.x + 1, None, None, state.aux | {str(len(state.aux)): state.x}), Info(state.x[:, 0])

    assert growth(Hoarder()) == 50


# Chains and their draws


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_kernel_draws_from_its_generator_alone(kernel: Kernel) -> None:
    before = torch.random.get_rng_state()
    x = normal(6, 2)
    start = x.clone()
    a, b, c = (run(kernel, BANANA.energy, x, 10, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(a[0].x, b[0].x)
    assert torch.equal(a[1].accept, b[1].accept)
    assert not torch.equal(a[0].x, c[0].x)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(x, start)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_chains_are_independent_of_each_other(kernel: Kernel) -> None:
    x = normal(6, 2)
    y = x.clone()
    y[1:] *= -3.0
    y[3] = math.nan
    a, b = (run(kernel, BANANA.energy, start, 10, seeded()) for start in (x, y))
    assert torch.equal(a[0].x[0], b[0].x[0])
    assert torch.equal(a[1].accept[0], b[1].accept[0])
    assert not torch.equal(a[0].x[1], b[0].x[1])


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_kernel_treats_images_as_flat_points(kernel: Kernel) -> None:
    flat = normal(5, 64)
    image, info = run(kernel, harmonic, flat.view(5, 1, 8, 8), 10, seeded())
    expected, expected_info = run(kernel, harmonic, flat, 10, seeded())
    assert image.x.shape == (5, 1, 8, 8)
    assert info.accept.shape == (5,)
    torch.testing.assert_close(image.x.flatten(1), expected.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(info.accept, expected_info.accept, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_state_caches_energy_and_gradient_of_its_position(kernel: Kernel) -> None:
    state, _ = run(kernel, MIXTURE.energy, MIXTURE.sample(50), 10, seeded())
    energy, grad = value_and_grad(MIXTURE.energy, state.x)
    if state.energy is not None:
        torch.testing.assert_close(state.energy, energy)
    if state.grad is not None:
        torch.testing.assert_close(state.grad, grad)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_kernel_keeps_the_dtype_of_its_start(kernel: Kernel) -> None:
    state, info = run(kernel, harmonic, normal(4, 2).float(), 3, seeded())
    assert state.x.dtype == info.accept.dtype == torch.float32


@pytest.mark.parametrize("kernel", [Langevin(2.5), Underdamped(2.5)], ids=name_of)
def test_uncorrected_kernel_shows_that_it_diverges(kernel: Kernel) -> None:
    state, _ = run(kernel, harmonic, normal(4, 1), 2000, seeded())
    assert not state.x.isfinite().any()


# Validation


@pytest.mark.parametrize("kernel", [MALA(), HMC(), Metropolis(), Underdamped()], ids=name_of)
def test_kernel_refuses_a_state_without_its_cache(kernel: Kernel) -> None:
    state = Langevin().init(harmonic, normal(2, 2), seeded())._replace(aux={"velocity": normal(2, 2)})
    with pytest.raises(ValueError, match=r"state holds no (energy|gradient)"):
        kernel.step(harmonic, state, seeded())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Langevin(step_size=-1.0), r"^step_size must be > 0, got -1\.0$"),
        (lambda: Langevin(noise_scale=-0.1), "^noise_scale must be >= 0"),
        (lambda: Langevin(noise_scale=math.nan), "^noise_scale must be >= 0"),
        (lambda: Langevin(clamp_grad=0.0), "^clamp_grad must be > 0"),
        (lambda: Langevin(clamp_sample=-1.0), "^clamp_sample must be > 0"),
        (lambda: MALA(step_size=0.0), "^step_size must be > 0"),
        (lambda: MALA(temperature=0.0), "^temperature must be > 0"),
        (lambda: HMC(n_leapfrog=0), "^n_leapfrog must be >= 1"),
        (lambda: HMC(step_size=math.nan), "^step_size must be > 0"),
        (lambda: Metropolis(step_size=math.inf), "^step_size must be finite"),
        (lambda: MCLMC(length=0.0), "^length must be > 0"),
        (lambda: MCLMC(energy_error=-1.0), "^energy_error must be > 0"),
        (lambda: Underdamped(friction=0.0), "^friction must be > 0"),
    ],
)
def test_kernel_refuses_numbers_out_of_range(make: Callable[[], Kernel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("path", CONF, ids=lambda p: p.stem)
def test_config_has_the_defaults_of_its_kernel(path: Path) -> None:
    text = path.read_text()
    keys = yaml.safe_load(text)
    (kernel,) = (k for k in KERNELS if keys["_target_"] == f"{type(k).__module__}.{type(k).__qualname__}")
    defaults = {name: p.default for name, p in inspect.signature(type(kernel)).parameters.items()}
    if nested := keys.pop("defaults", None):
        # The kernel of a tempered chain: its step size and temperature are those of the chain.
        assert nested == [{"/sampler@kernel": "mala"}, "_self_"]
        assert isinstance(kernel, Tempering)
        assert kernel.kernel == MALA()
        del defaults["kernel"]
        for name in ("step_size", "temperature"):
            assert keys[name] == f"${{.kernel.{name}}}"
            keys[name] = getattr(MALA(), name)
    assert {k: v for k, v in keys.items() if k != "_target_"} == defaults
    header, *lines = text.splitlines()
    assert header.startswith("# ")
    assert len(lines) + 1 <= 12
    assert all("#" in line for line in lines if ":" in line and not line.startswith(("_target_", "defaults")))


def test_every_kernel_has_a_config() -> None:
    assert {p.stem for p in CONF} == {type(k).__module__.rpartition(".")[2] for k in KERNELS}
