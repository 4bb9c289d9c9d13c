"""`ebm check`: a healthy package passes, and each way to be broken is a failed row that names the part."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from ebm_cli.config.groups import conf_dir, group_options
from ebm_cli.datasets import Dataset, Standardizer
from ebm_cli.datasets.batches import Batches
from ebm_cli.densities import Density, Gaussian
from ebm_cli.derivatives import Differentiable, Jet, Pullback, activations, value_and_grad
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods import LossOutput, Method
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.samplers import EnergyFn, Info, Kernel, State, mala, underdamped
from ebm_cli.samplers.base import accept_reject, energy_of, grad_of, normal_like
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest import SUBJECTS, Bench, Row, examine
from tests.support import Ebm, composed

CPU = [torch.device("cpu")]


def verdicts(rows: Sequence[Row]) -> dict[str, str]:
    """What each row says; a row without a fact by its reason."""
    return {row.what or row.reason: row.verdict for row in rows}


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The verdicts of a subject where a group has one option alone: this class of this file, with these keys."""

    def examined(name: str, group: str, cls: type, **keys: Any) -> dict[str, str]:
        option = tmp_path / group / "mine.yaml"
        option.parent.mkdir(exist_ok=True)
        option.write_text(yaml.safe_dump({"_target_": f"{cls.__module__}.{cls.__name__}", **keys}))

        def compose(words: Sequence[str]) -> DictConfig:
            (chosen,) = (word for word in words if "=mine" in word)
            return OmegaConf.create({group: OmegaConf.load(tmp_path / f"{chosen.replace('=', '/')}.yaml")})

        return verdicts(examine(Bench(compose, [tmp_path], 0, CPU), name))

    return examined


# --- the whole --------------------------------------------------------------------------------------------------------


def test_a_healthy_package_passes_and_leaves_nothing_behind(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("check")
    assert (ran.code, ran.err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert "FAILED" not in ran.out
    assert "torch 2." in ran.out.splitlines()[0]
    assert ran.out.splitlines()[-1] == "Everything that could be checked on this machine is right."
    sections = {line.strip(): i for i, line in enumerate(ran.out.splitlines()) if line.strip() in SUBJECTS}
    assert list(sections) == list(SUBJECTS)
    groups = {"derivatives": "energy", "densities": "noise", "datasets": "dataset"}
    groups |= {"samplers": "sampler", "methods": "method"}
    ends = [*list(sections.values())[1:], len(ran.out.splitlines())]
    for (name, start), end in zip(sections.items(), ends, strict=True):
        listed = {word for line in ran.out.splitlines()[start:end] for word in line.split()[1:2]}
        assert name not in groups or set(group_options(groups[name], [conf_dir()])) <= listed
    assert "\nfile: dataset.path must name a .npy" in ran.out


def test_a_sampler_of_ones_own_is_checked_and_a_broken_one_is_named(ebm: Ebm, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sampler").mkdir(parents=True)
    (tmp_path / "mine" / "sampler" / "eager.yaml").write_text(
        "# Never refuses\n_target_: eager.Eager\nstep_size: 0.1\n"
    )
    (tmp_path / "eager.py").write_text(
        "from dataclasses import dataclass\n"
        "from ebm_cli.samplers import Info, Kernel\n"
        "from ebm_cli.samplers.metropolis import Metropolis\n\n"
        "@dataclass(frozen=True)\n"
        "class Eager(Kernel):\n"
        "    target_accept = 0.234\n\n"
        "    def init(self, energy, x, rng):\n"
        "        return Metropolis(self.step_size, self.temperature).init(energy, x, rng)\n\n"
        "    def step(self, energy, state, rng):\n"
        "        _, info = Metropolis(self.step_size, self.temperature).step(energy, state, rng)\n"
        "        moved, _ = Metropolis(self.step_size, 1e9).step(energy, state, rng)\n"
        "        return moved, info\n"
    )
    ran = ebm("check", "--config-dir", "mine", "only=samplers")
    assert ran.code == 1
    failed = [line.split()[1:3] for line in ran.out.splitlines() if line.startswith("FAILED")]
    assert failed == [["eager", "mean"], ["eager", "mean"], ["eager", "law"]]
    assert ran.err.startswith("ebm: 3 of ")
    assert "checks FAILED: samplers eager mean and variance at T = 1; samplers eager mean" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "is right" not in ran.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["only=sampler"], "ebm: only=sampler: must be all, or among device, derivatives, densities, datasets, "),
        (["only=[samplers,device,densitys]"], "ebm: only=densitys: must be all, or among "),
        (["only=[]"], "ebm: only=[]: must be all, or among "),
        (["only=3"], "ebm: only must be text or a list of texts, got 3"),
        (["seed=-1"], "ebm: seed must be >= 0, got -1"),
        (["device=gpu"], "ebm: device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        (["sede=1"], "ebm: sede: no such key; did you mean seed?"),
    ],
)
def test_a_wrong_value_is_one_line(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("check", *words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(line)
    assert len(ran.err.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_an_error_where_it_is_asked_for_and_no_failure_where_not(ebm: Ebm) -> None:
    assert ebm("check", "device=cuda").err == "ebm: device=cuda: there is none on this machine; try device=auto\n"
    ran = ebm("check", "only=device")
    assert ran.code == 0
    assert "cuda: no cuda device on this machine" in ran.out


def test_interrupted(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(bench: Bench) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setitem(SUBJECTS, "device", interrupt)
    ran = ebm("check")
    assert (ran.code, ran.err) == (130, "ebm: interrupted\n")


def test_the_closing_line_names_five_and_counts_the_rest(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    from ebm_cli.commands import check

    rows = [Row(f"part{i}", "", "FAILED", reason="broken") for i in range(7)]
    monkeypatch.setattr(check, "examine", lambda bench, subject: rows)
    ran = ebm("check", "only=device")
    assert ran.code == 1
    assert ran.err.endswith(
        "7 of 7 checks FAILED: device part0; device part1; device part2; device part3; device part4; and 2 more\n"
    )


# --- samplers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [MALA(0.3), HMC(0.5), Metropolis(1.0)], ids=lambda k: type(k).__name__)
def test_a_corrected_kernel_keeps_the_targets_variance(kernel: Kernel) -> None:
    assert replace(kernel, temperature=3.0).stationary_variance(0.5) == 1.5


@pytest.mark.parametrize("noise_scale", [0.0, 0.7, 1.0])
def test_langevins_variance_is_the_fixed_point_of_its_step(noise_scale: float) -> None:
    kernel = Langevin(0.3, temperature=2.0, noise_scale=noise_scale)
    variance = kernel.stationary_variance(0.5)
    assert variance is not None
    after = (1 - 0.3 / 0.5) ** 2 * variance + 2 * 0.3 * 2.0 * noise_scale**2
    assert after == pytest.approx(variance, rel=1e-12)
    assert Langevin(1.0).stationary_variance(0.5) == math.inf
    assert Langevin(0.3, clamp_grad=1.0).stationary_variance(0.5) is None
    assert Langevin(0.3, clamp_sample=1.0).stationary_variance(0.5) is None


@pytest.mark.parametrize("eps", [0.2, 1.0, 1.4, 1.6])
def test_underdampeds_variance_solves_its_lyapunov_equation(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Gaussian a step is linear, s' = A s + b z with s = (x, v); its covariance solves S = A S Aᵀ + b bᵀ."""
    variance, temperature = 0.5, 2.0
    kernel = Underdamped(eps, temperature, friction=0.8)

    def energy(x: Tensor) -> Tensor:
        return x.square().sum(1) / (2 * variance)

    def image(x: float, v: float, z: float) -> list[float]:
        at = torch.tensor([[x]], dtype=torch.float64)
        monkeypatch.setattr(underdamped, "normal_like", lambda like, rng: torch.full_like(like, z))
        state = State(at, *value_and_grad(energy, at), {"velocity": torch.full_like(at, v)})
        after, _ = kernel.step(energy, state, torch.Generator())
        return [after.x.item(), after.aux["velocity"].item()]

    a = np.array([image(1.0, 0.0, 0.0), image(0.0, 1.0, 0.0)]).T
    b = np.array(image(0.0, 0.0, 1.0))
    stable = max(abs(np.linalg.eigvals(a))) < 1
    assert stable == (eps < 2 * math.sqrt(variance))
    expected = solve_discrete_lyapunov(a, np.outer(b, b))[0, 0] if stable else math.inf
    assert kernel.stationary_variance(variance) == pytest.approx(expected, rel=1e-9)


class Step(Kernel):
    """MALA, whose parts a broken kernel replaces."""

    target_accept = 0.574

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return MALA(self.step_size, self.temperature).step(energy, state, rng)


@dataclass(frozen=True)
class Uphill(Step):
    """The wrong sign: climbs the energy, with the ratio of one that descends."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        flipped = state._replace(grad=-grad_of(state))
        _, info = MALA(self.step_size, self.temperature).step(energy, state, rng)
        x = state.x + self.step_size * grad_of(state) + math.sqrt(2 * self.step_size) * normal_like(state.x, rng)
        assert flipped.grad is not None
        value, grad = value_and_grad(energy, x)
        return accept_reject(state, State(x, value, grad, {}), info.accept.log(), rng)


@dataclass(frozen=True)
class IgnoresTemperature(Step):
    """Always samples at T = 1."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return MALA(self.step_size).step(energy, state, rng)


@dataclass(frozen=True)
class StandsStill(Step):
    """Says that it moves."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return state, Info(torch.full_like(energy_of(state), 0.574))


@dataclass(frozen=True)
class Drifts(Step):
    """A Metropolis test with a proposal that is not symmetric."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x = state.x + self.step_size * (normal_like(state.x, rng) + 0.1)
        value, grad = value_and_grad(energy, x)
        return accept_reject(state, State(x, value, grad, {}), energy_of(state) - value, rng)


@dataclass(frozen=True)
class HalfTheNoise(Step):
    """Langevin with √eps for √(2 eps), and the variance that Langevin would have."""

    target_accept = None

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return Langevin(self.step_size, self.temperature, math.sqrt(0.5)).step(energy, state, rng)

    def stationary_variance(self, variance: float) -> float | None:
        return Langevin(self.step_size, self.temperature).stationary_variance(variance)


@dataclass(frozen=True)
class Raises(Step):
    """Does not work at all."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        raise RuntimeError("out of\nmemory")


COLD, HOT, MEMORY = "mean and variance at T = 1", "mean and variance at T = 2", "memory after 20 steps"
MIXTURE = "law on a mixture"


@pytest.mark.parametrize(
    ("kernel", "failed"),
    [
        (Uphill, {COLD, HOT, MIXTURE}),
        (IgnoresTemperature, {HOT}),
        (StandsStill, {MEMORY}),
        (Drifts, {COLD, HOT, MIXTURE}),
        (HalfTheNoise, {COLD, HOT}),
    ],
)
def test_a_broken_sampler_fails(subject: Callable[..., dict[str, str]], kernel: type, failed: set[str]) -> None:
    found = subject("samplers", "sampler", kernel, step_size=0.05)
    # A chain that is wrong enough to be refused is also slow.
    assert failed <= {what for what, verdict in found.items() if verdict == "FAILED"} <= failed | {MEMORY}
    assert set(found) == {COLD, HOT, MEMORY, MIXTURE}


def test_mala_without_its_correction_fails(
    subject: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(subject("samplers", "sampler", MALA).values()) == {"ok"}

    def always(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
        return proposal, accept_reject(state, proposal, log_ratio, rng)[1]

    monkeypatch.setattr(mala, "accept_reject", always)
    assert subject("samplers", "sampler", MALA)[COLD] == "FAILED"


def test_what_raises_is_a_row_and_not_the_end(subject: Callable[..., dict[str, str]]) -> None:
    assert subject("samplers", "sampler", Raises, step_size=0.1) == {"RuntimeError: out of": "FAILED"}
    found = subject("samplers", "sampler", MALA, stepsize=0.1)
    assert found == {"sampler.stepsize: no such key in MALA; did you mean step_size?": "FAILED"}


@pytest.mark.parametrize("keys", [{"clamp_grad": 1.0}, {"noise_scale": 0.0}], ids=["of unknown bias", "without noise"])
def test_a_sampler_that_states_no_law_is_skipped(
    subject: Callable[..., dict[str, str]], keys: dict[str, float]
) -> None:
    assert set(subject("samplers", "sampler", Langevin, step_size=0.1, **keys).values()) == {"skipped"}


def test_a_step_that_is_unstable_on_a_unit_gaussian_fails(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("samplers", "sampler", Langevin, step_size=2.5)
    assert found == {"ValueError: step_size 2.5 is too long for N(0, I)": "FAILED"}


# --- densities and data sets ------------------------------------------------------------------------------------------


class Wrong(Density):
    """A Gaussian with one mistake in it."""

    def __init__(self, data: Tensor, mistake: str = "") -> None:
        super().__init__()
        self.shape, self.mistake, self.right = tuple(data.shape[1:]), mistake, Gaussian(data)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        x = self.right.sample(n, rng)
        return x * 1.1 if self.mistake == "samples" else x

    def log_prob(self, x: Tensor) -> Tensor:
        log_q = self.right.log_prob(x)
        if self.mistake == "integral":
            return log_q + math.log(1.1)
        return 0.9 * log_q.detach() + 0.1 * log_q if self.mistake == "score" else log_q

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, log_q = super().sample_with_log_prob(n, rng)
        return x, log_q + 0.01 if self.mistake == "log q, both ways" else log_q


@pytest.mark.parametrize("mistake", ["", "integral", "samples", "score", "log q, both ways"])
def test_a_broken_density_fails(subject: Callable[..., dict[str, str]], mistake: str) -> None:
    found = subject("densities", "noise", Wrong, mistake=mistake)
    assert {what for what, verdict in found.items() if verdict == "FAILED"} == ({mistake} if mistake else set())
    assert len(found) == 4


class Heavy(Wrong):
    """Not a density: no integral."""

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.square().sum(1).log1p()


def test_a_density_without_an_integral_fails(subject: Callable[..., dict[str, str]]) -> None:
    (only,) = subject("densities", "noise", Heavy).items()
    assert only[0].startswith("NotIntegrable: exp(-energy) is not integrable")
    assert only[1] == "FAILED"


class Restless(Dataset):
    """Other held-out rows each time, of a density that nobody knows, where a file is."""

    def __init__(self, restless: bool = True, path: str | None = None) -> None:
        super().__init__()
        if path is not None:
            Path(path).read_bytes()
        self.shape, self.density, self.standardizer = (3,), None, Standardizer.identity((3,))
        self.restless, self.calls = restless, 0

    @property
    def reference(self) -> Tensor:
        return self.held_out(10)

    def held_out(self, n: int) -> Tensor:
        self.calls += self.restless
        return torch.full((n, 3), float(self.calls), dtype=torch.float64)

    def validation(self, n: int) -> Tensor:
        return self.held_out(n)

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        raise NotImplementedError


def test_a_data_set_without_a_density_or_a_file(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("datasets", "dataset", Restless, restless=False)
    assert found == {"held-out rows, again": "ok", "units and back": "ok", "density": "skipped"}
    assert subject("datasets", "dataset", Restless)["held-out rows, again"] == "FAILED"
    (only,) = subject("datasets", "dataset", Restless, path="/nowhere/rows.npy").items()
    assert "No such file or directory: '/nowhere/rows.npy'" in only[0]
    assert only[1] == "skipped"


def test_in_more_than_two_dimensions_there_is_no_quadrature(subject: Callable[..., dict[str, str]]) -> None:
    from ebm_cli.datasets import Synthetic

    ten = {"_target_": "ebm_cli.datasets.Gaussian", "dim": 10}
    found = subject("datasets", "dataset", Synthetic, density=ten)
    assert (found["integral"], found["score"]) == ("skipped", "ok")
    assert "samples" not in found


# --- derivatives ------------------------------------------------------------------------------------------------------

SECOND = {"second derivative", "Laplacian", "rules against autograd", "the same in 160 dimensions"}


@pytest.mark.parametrize(
    ("order", "failed"),
    [(None, set()), (1, {"gradient", *SECOND}), (2, SECOND), (3, SECOND - {"second derivative", "Laplacian"})],
)
def test_a_wrong_derivative_rule_fails(
    subject: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch, order: int | None, failed: set[str]
) -> None:
    right = activations.silu

    def wrong(a: Tensor, up_to: int) -> tuple[Tensor, ...]:
        return tuple(value * 1.001 if n == order else value for n, value in enumerate(right(a, up_to)))

    monkeypatch.setattr(activations, "silu", wrong)
    found = subject("derivatives", "energy", MLP, width=8)
    assert {what for what, verdict in found.items() if verdict == "FAILED"} == failed
    assert len(found) == 6


class Steep(Energy, Differentiable):
    """A quadratic energy that may have a wrong rule, a wrong log Z, or lose its digits in float32."""

    def __init__(self, shape: tuple[int, ...], mistake: str = "") -> None:
        super().__init__()
        self.shape, self.mistake, self.right = shape, mistake, Quadratic(shape)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.right(x)
        return value

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        out, back = self.right.sweep(jet)
        factor = 1.01 if self.mistake == "second derivative" and out.second is not None else 1.0
        second = None if out.second is None else factor * out.second
        coarse = self.mistake == "float32" and out.value.dtype is torch.float32
        return Jet(out.value.bfloat16().float() if coarse else out.value, out.first, second), back

    def log_z(self) -> Tensor | None:
        log_z = self.right.log_z()
        return log_z if log_z is None or self.mistake != "log Z" else log_z + 0.01


@pytest.mark.parametrize("mistake", ["", "second derivative", "log Z", "float32"])
def test_a_broken_energy_fails(subject: Callable[..., dict[str, str]], mistake: str) -> None:
    found = subject("derivatives", "energy", Steep, mistake=mistake)
    assert ({mistake} if mistake else set()) <= {what for what, verdict in found.items() if verdict == "FAILED"}
    assert mistake or set(found.values()) == {"ok"}
    assert found["gradient"] == "ok"


class Picture(Energy):
    """Takes images alone, and has no rules."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"shape must be channels, height and width, got {shape}")
        self.shape, self.weight = shape, torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * torch.nn.functional.avg_pool2d(x, 2).square().flatten(1).sum(1)


def test_an_energy_of_images_is_checked_on_images(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("derivatives", "energy", Picture)
    assert found.pop("rules against autograd") == "skipped"
    assert found == dict.fromkeys(("gradient", "second derivative", "Laplacian", "float32"), "ok")


# --- methods and devices ----------------------------------------------------------------------------------------------


class Broken(Method):
    """A loss that is not a number, or that no weight has a part in."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        return LossOutput(self.factor * energy(x).mean(), {})


@pytest.mark.parametrize(
    ("factor", "said"),
    [(1.0, "3 steps on cpu"), (math.inf, "3 steps on cpu"), (0.0, "ValueError: no weight moved in 3 steps on cpu")],
)
def test_a_method_that_does_not_train_fails(tmp_path: Path, factor: float, said: str) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("# Broken")

    def compose(words: Sequence[str]) -> DictConfig:
        cfg = composed("dataset=gaussian", *words[1:])
        cfg.method = {"_target_": f"{Broken.__module__}.Broken", "factor": factor}
        return cfg

    found = verdicts(list(examine(Bench(compose, [tmp_path], 0, CPU), "methods")))
    assert found == {said: "ok" if factor == 1 else "FAILED"}


def device_rows() -> dict[str, str]:
    """The verdicts about this CPU and disk, without any option."""
    return {
        f"{row.name}: {row.what}": row.verdict
        for row in examine(Bench(lambda words: OmegaConf.create(), [], 0, CPU), "device")
    }


def test_the_same_seed_that_gives_other_numbers_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "FAILED" not in device_rows().values()
    right = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, generator, device: right(n, device=device))
    rows = device_rows()
    assert {what for what, verdict in rows.items() if verdict == "FAILED"} == {
        "cpu float32: the same seed twice",
        "cpu float64: the same seed twice",
    }


def test_a_reader_that_takes_a_damaged_checkpoint_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "read", lambda path: torch.load(path, weights_only=True))
    rows = device_rows()
    assert rows["disk: a checkpoint, read again"] == "ok"
    assert rows["disk: 8 with a flipped bit"] == "FAILED"
