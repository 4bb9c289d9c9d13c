"""From a config to the parts of a run, and from a checkpoint back to the model: one way to put them together.

Every stream of random numbers has its own generator, derived from the seed and a name: initialisation, data, method and
evaluation do not disturb each other, so that changing `eval_every` changes no weight.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ebm_cli.config.build import build
from ebm_cli.config.trust import check_stored
from ebm_cli.datasets import Dataset, Standardizer
from ebm_cli.energies import Energy, Rescaled, Sum
from ebm_cli.errors import UserError, first_line
from ebm_cli.methods import Method
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.instantiate import Parts, bounded, seeded
from ebm_cli.system.device import device_of


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

    def to_dtype(self, dtype: str) -> "Model":
        """Convert energy and standardizer in place to a dtype by its name; "auto" keeps that of the run."""
        if dtype != "auto":
            self.energy.to(getattr(torch, dtype))
            self.standardizer.to(getattr(torch, dtype))
        return self

    def parts(self) -> Parts:
        """The run's data set and method too, where the energy is: built anew, the method with what it trained.

        Raises:
            UserError: data that are not to be had any more, or a method that does not fit its config.
        """
        like = self.standardizer.like
        dataset = self.dataset.to(like.device, like.dtype)
        dataset.standardizer.load_state_dict(self.standardizer.state_dict())
        given: dict[str, Any] = {"shape": tuple(dataset.shape), "data": dataset.reference}
        with seeded(0, "initialisation"):
            method = build(self.config.method, "method", Method, trust=self.trust, **given).to(like.device, like.dtype)
        with _fitting(self.path):
            _load(method, "method", self.trained["method"], self.trained["ema"])
        return Parts(dataset, self.energy, method.eval().requires_grad_(False))


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
        read = partial(as_member, partial(load, trust=trust), standardizer, "energy.checkpoints")
        context = {"shape": shape, "load_member": read}
        # Its numbers are in the file, in double precision at most: a width of 10⁵ in a small file is somebody's joke.
        with seeded(0, "initialisation"), bounded(4 * file.stat().st_size):
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
    like = first.standardizer.like
    member = partial(as_member, read, first.standardizer, "checkpoint")
    try:
        energy = Sum(tuple(like.shape), list(paths), member, kind, None if weights is None else list(weights))
    except ValueError as error:
        raise UserError(f"compose.{error}") from error
    return replace(first, energy=energy.to(like.device, like.dtype).eval())


def as_member(read: Callable[[str], Model], into: Standardizer, key: str, path: str) -> Energy:
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
        raise UserError(f"checkpoint={file}: its tensors do not fit its config ({first_line(error)})") from error


def _load(module: nn.Module, part: str, state: dict[str, Any], averages: Mapping[str, Tensor]) -> None:
    """A stored state, with the moving averages of its parameters, `part.name` → mean, in place of the last values."""
    module.load_state_dict(state)
    parameters = {f"{part}.{name}": parameter for name, parameter in module.named_parameters()}
    with torch.no_grad():
        for name, mean in averages.items():
            if name.startswith(f"{part}."):
                parameters[name].copy_(mean)
