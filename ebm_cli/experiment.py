"""From a config to the parts of a run, and from a checkpoint back to the model: one way to put them together.

Every stream of random numbers has its own generator, derived from the seed and a name: initialisation, data, method and
evaluation do not disturb each other, so that changing `eval_every` changes no weight.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.config import build
from ebm_cli.datasets import Dataset, Standardizer
from ebm_cli.energies import Energy, Rescaled, Sum
from ebm_cli.errors import UserError
from ebm_cli.memory import in_words, room
from ebm_cli.methods import Method
from ebm_cli.optimizers import leave_the_compiler_out
from ebm_cli.training import checkpoint as checkpoints
from ebm_cli.training.trainer import Trainer
from ebm_cli.trust import Trust, check_stored

SMALL = 1_000_000
"""Parameters below which `threads=auto` is 1: two threads on a small network cost more than they bring."""
MOST_TENSORS = 20_000
"""Parameters' tensors of a model and its method; a network of a thousand layers has 2,000."""
ALL_THREADS = torch.get_num_threads()
"""What torch chooses by itself: a job of a sweep does not inherit the choice of the one before it."""


@dataclass(frozen=True)
class Parts:
    """What a config describes, on its device."""

    dataset: Dataset
    energy: Energy
    method: Method


@dataclass(frozen=True)
class Model:
    """What a checkpoint holds: the energy in standardised units, and how to leave them.

    Attributes:
        energy: f, in eval mode, with the chosen weights.
        standardizer: data units ↔ standardised units.
        config: the run's resolved config.
        step: training steps behind it.
        versions: what it was trained with.
        path: the file it was read from.
        trust: packages whose classes its config may name.
        trained: what else was trained: the method's state, and the moving averages.
    """

    energy: Energy
    standardizer: Standardizer
    config: DictConfig
    step: int
    versions: dict[str, str]
    path: Path
    trust: tuple[str, ...] = ()
    trained: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def dataset(self) -> Dataset:
        """The data set that the run's config describes, built anew."""
        dataset: Dataset = build(self.config.dataset, "dataset", Dataset, trust=self.trust)
        return dataset

    def parts(self) -> Parts:
        """The run's data set and method too, where the energy is: built anew, the method with what it trained.

        Raises:
            UserError: data that are not to be had any more, or a method that does not fit its config.
        """
        like = self.standardizer.mean
        dataset = self.dataset.to(like.device, like.dtype)
        dataset.standardizer.load_state_dict(self.standardizer.state_dict())
        given: dict[str, Any] = {"shape": tuple(dataset.shape), "data": dataset.reference}
        with _seeded(0, "initialisation"):
            method = build(self.config.method, "method", Method, trust=self.trust, **given).to(like.device, like.dtype)
        with _fitting(self.path):
            _load(method, "method", self.trained["method"], self.trained["ema"])
        return Parts(dataset, self.energy, method.eval().requires_grad_(False))


def rng(seed: int, name: str, device: torch.device) -> torch.Generator:
    """A generator of its own for each name; hashing keeps neighbouring seeds unrelated."""
    digest = hashlib.blake2b(f"ebm/{seed}/{name}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def device_of(name: str) -> torch.device:
    """`auto` is CUDA where there is one, then MPS, then the CPU.

    Raises:
        UserError: a device that is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"device={name}: there is none on this machine; try device=auto")
    return torch.device(name)


def assemble(cfg: DictConfig, trust: Trust = None) -> Parts:
    """Data set, energy and method of a training config; refuses combinations that cannot work.

    Raises:
        UserError: anything in the config that its parts refuse.
    """
    device, dtype = device_of(cfg.device), getattr(torch, cfg.dtype)
    dataset = build(cfg.dataset, "dataset", Dataset, trust=trust).to(device, dtype)
    given: dict[str, Any] = {"shape": tuple(dataset.shape), "data": dataset.reference}
    with _seeded(cfg.seed, "initialisation"):
        read = partial(_member, partial(load, trust=tuple(cfg.trust)), dataset.standardizer, "energy.checkpoints")
        context = given | {"load_member": read}
        energy = build(cfg.energy, "energy", Energy, trust=trust, **context).to(device, dtype)
        method = build(cfg.method, "method", Method, trust=trust, **given).to(device, dtype)
    if not method.players(energy)["energy"]:
        raise UserError(
            f"energy._target_={cfg.energy._target_}: has no parameters, so there is nothing to train; the weights of "
            "a sum are trained with energy.train_weights=true, and ebm sample checkpoint=[A,B] takes runs as they are"
        )
    try:
        method.check(energy, cfg.batch_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Parts(dataset, energy, method)


def edges(parts: Parts) -> str | None:
    """Why the objective does not hold for these data, and what helps; None where nothing is known against it."""
    if not parts.method.needs_soft_edges or not parts.dataset.hard_edges:
        return None
    return (
        "dequantised data have hard edges, where the boundary term that score matching drops (Hyvärinen 2005) is not 0 "
        "and its objective has no lower bound: what it learns there is a cliff; dataset.noise_std=1 rounds them off"
    )


def make_trainer(cfg: DictConfig, parts: Parts, trust: Trust = None) -> Trainer:
    """The trainer of a new run."""
    device = device_of(cfg.device)
    leave_the_compiler_out()

    def optimizer(parameters: Iterable[nn.Parameter], lr: float | None) -> Optimizer:
        node = cfg.optimizer if lr is None else OmegaConf.merge(cfg.optimizer, {"lr": lr})
        made: Optimizer = build(node, "optimizer", Optimizer, trust=trust, params=list(parameters))
        return made

    def schedule(of: Optimizer) -> LRScheduler:
        # What torch's schedules call the run's length and the player's own rate; one more step than the run has,
        # because the schedule also moves after the last one.
        given = {"T_max": cfg.steps, "total_steps": cfg.steps + 1, "max_lr": of.defaults["lr"]}
        made: LRScheduler = build(cfg.schedule, "schedule", LRScheduler, trust=trust, optimizer=of, **given)
        return made

    try:
        return Trainer(
            parts.energy,
            parts.method,
            parts.dataset.batches(cfg.batch_size, rng(cfg.seed, "data", device)),
            optimizer,
            schedule,
            rng(cfg.seed, "method", device),
            cfg.clip_grad_norm,
            cfg.ema,
            guard_interval=cfg.log_every,
            precision=cfg.precision,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def load(
    path: str | Path,
    which: checkpoints.Which = "last",
    weights: str = "ema",
    trust: Sequence[str] = (),
    device: str = "cpu",
) -> Model:
    """The model that a run directory or a checkpoint file holds, from that file alone.

    Args:
        path: a run directory, or a checkpoint file.
        which: of a run directory, its best or its last checkpoint.
        weights: "ema" for the averaged weights, "raw" for the live ones.
        trust: packages, beside ours, whose classes the stored config may name.
        device: where the energy is put.

    Raises:
        UserError: no checkpoint, a damaged one, or one whose config names what is not trusted.
    """
    file = checkpoints.locate(path, which)
    state = checkpoints.read(file)
    config = state["config"]
    check_stored(config, list(trust))
    cfg = OmegaConf.create(config)
    with _fitting(file):
        shape = tuple(state["dataset"]["shape"])
        averages = state["ema"]["mean"] if weights == "ema" else {}
        standardizer = Standardizer.identity(shape).to(getattr(torch, cfg.dtype))
        standardizer.load_state_dict(state["dataset"]["standardizer"])
        read = partial(_member, partial(load, trust=trust), standardizer, "energy.checkpoints")
        context = {"shape": shape, "load_member": read}
        # Its numbers are in the file, in double precision at most: a width of 10⁵ in a small file is somebody's joke.
        with _seeded(0, "initialisation"), _bounded(4 * file.stat().st_size):
            energy: Energy = build(cfg.energy, "energy", Energy, trust=list(trust), **context)
        missing = {f"energy.{name}" for name, _ in energy.named_parameters()} - averages.keys()
        if weights == "ema" and missing:
            raise KeyError(f"no average of {min(missing)}")
        _load(energy.to(dtype=getattr(torch, cfg.dtype)), "energy", state["energy"], averages)
    target = device_of(device)
    return Model(
        energy.to(target).eval().requires_grad_(False),
        standardizer.to(target, getattr(torch, cfg.dtype)),
        cfg,
        int(state["step"]),
        dict(state["versions"]),
        file,
        tuple(trust),
        {"method": state["method"], "ema": averages},
    )


def compose(
    paths: Sequence[str],
    read: Callable[[str], Model],
    kind: Literal["product", "mixture"] = "product",
    weights: Sequence[float] | None = None,
) -> Model:
    """Trained models as one: the first, with the sum of all their energies (see `energies.Sum`) in place of its own.

    Args:
        paths: run directories or checkpoint files, two or more.
        read: `load`, with what is to be loaded of each.
        kind, weights: of the sum.

    Raises:
        UserError: a model that cannot be loaded, points of different shapes, or weights that do not fit.
    """
    if len(paths) < 2:
        raise UserError(f"checkpoint={list(paths)}: a composition takes two or more")
    first = read(paths[0])
    mean = first.standardizer.mean
    member = partial(_member, read, first.standardizer, "checkpoint")
    try:
        energy = Sum(tuple(mean.shape), list(paths), member, kind, None if weights is None else list(weights))
    except ValueError as error:
        raise UserError(f"compose.{error}") from error
    return replace(first, energy=energy.to(mean.device, mean.dtype).eval())


def _member(read: Callable[[str], Model], into: Standardizer, key: str, path: str) -> Energy:
    """A trained energy in the units of another run: its u' = (x − m') / s' as a map of that run's u = (x − m) / s.

    Raises:
        UserError: no such run, or one whose points have another shape; it begins with the key.
    """
    try:
        model = read(path)
    except UserError as error:
        raise UserError(f"{key}: {str(error).removeprefix('checkpoint=')}") from error
    own = model.standardizer
    if own.mean.shape != into.mean.shape:
        shapes = list(own.mean.shape), list(into.mean.shape)
        raise UserError(f"{key}: the points of {path} have the shape {shapes[0]}, and not {shapes[1]} as the others")
    mean, scale = (part.to(own.mean.device) for part in (into.mean, into.scale))
    return Rescaled(model.energy, scale / own.scale, (mean - own.mean) / own.scale)


@contextmanager
def _fitting(file: Path) -> Iterator[None]:
    """What a checkpoint's tensors raise where they are not those of its config."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"checkpoint={file}: its tensors do not fit its config ({_first(error)})") from error


def _load(module: nn.Module, part: str, state: dict[str, Any], averages: Mapping[str, Tensor]) -> None:
    """A stored state, with the moving averages of its parameters, `part.name` → mean, in place of the last values."""
    module.load_state_dict(state)
    parameters = {f"{part}.{name}": parameter for name, parameter in module.named_parameters()}
    with torch.no_grad():
        for name, mean in averages.items():
            if name.startswith(f"{part}."):
                parameters[name].copy_(mean)


@contextmanager
def _seeded(seed: int, name: str) -> Iterator[None]:
    """Modules draw initial weights from torch's global generator: seeded inside the block, restored after it."""
    with torch.random.fork_rng(devices=[]), _bounded():
        torch.manual_seed(rng(seed, name, torch.device("cpu")).initial_seed())
        yield


@contextmanager
def _bounded(most: int | None = None) -> Iterator[None]:
    """Refuse a network as it is made, once it has layers without an end, or more parameters than there is room for.

    Args:
        most: bytes of all parameters; None for what memory has room for.
    """
    n_tensors, n_bytes = 0, 0
    most = room() if most is None else most

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal n_tensors, n_bytes
        n_tensors, n_bytes = n_tensors + 1, n_bytes + (0 if parameter is None else parameter.nbytes)
        if n_tensors > MOST_TENSORS:
            raise ValueError(f"more than {MOST_TENSORS:,} layers' weights and biases: more than anybody can train")
        if n_bytes > most:
            raise ValueError(f"more than {in_words(most)} of parameters, which is all that there is room for")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def set_threads(threads: int | str, energy: Energy | None = None) -> int:
    """Set the number of CPU threads; `auto` is a fixed rule on the network's size. Returns what it is now.

    Without an energy, for putting one together, `auto` is 1: drawing rows and fitting to them is work of milliseconds,
    of which threads that wait for each other make tenths of a second.
    """
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    else:
        small = energy is None or sum(p.numel() for p in energy.parameters()) < SMALL
        torch.set_num_threads(1 if small else ALL_THREADS)
    return torch.get_num_threads()


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
