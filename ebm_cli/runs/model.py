"""A trained model, loaded from a checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ebm_cli.config.build import build
from ebm_cli.config.trust import require_trusted
from ebm_cli.datasets import Dataset, Standardizer
from ebm_cli.datasets.io.contents import Reading, reading
from ebm_cli.densities.memo import of_few_rows
from ebm_cli.energies import Energy, Tilted
from ebm_cli.energies.column_tails import Tails
from ebm_cli.errors import UserError, first_line
from ebm_cli.methods import Method, Polish
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.composed import load_member
from ebm_cli.runs.data_file import build_data
from ebm_cli.runs.instantiate import Parts, seeded, size_limited
from ebm_cli.runs.stored_config import follow_data_file, move_data_file, require_data_file
from ebm_cli.system.device import device_of


@dataclass(frozen=True)
class Model:
    """A trained energy, in standardised units.

    Attributes:
        energy: f, in eval mode, with the chosen weights.
        standardizer: data units ↔ standardised units.
        config: resolved config of the run.
        step: training steps behind the weights.
        versions: of the software that trained it.
        path: checkpoint file.
        trust: packages whose classes the config may name.
        trained: other results of training: the method's state, that of the second phase, and the moving averages.
        data_file: fingerprint of the file that the run was trained on, in plain form; None for other data.
        remarks: sentences that name the checkpoint of a run directory if `which=auto` took best.pt.
    """

    energy: Energy
    standardizer: Standardizer
    config: DictConfig
    step: int
    versions: dict[str, str]
    path: Path
    trust: tuple[str, ...] = ()
    trained: Mapping[str, Any] = field(default_factory=dict, repr=False)
    data_file: Mapping[str, Any] | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def has_data(self) -> bool:
        """True for the model of a run; an energy without a run has no data set."""
        return self.config.get("dataset") is not None

    @property
    def dataset(self) -> Dataset:
        """Data set of the run, built anew from its config.

        Raises:
            UserError: a file that cannot be read, or that is not the one that the run was trained on.
        """
        config = follow_data_file(self.config, self.path)
        require_data_file(config)
        return build_data(config.dataset, self.data_file, self.trust)

    def with_data_file(self, path: str | None) -> "Model":
        """The model with another place of its data file; None keeps the place that its run was trained from.

        Raises:
            UserError: the run was not trained on a file, or on another one.
        """
        if path is None:
            return self
        config = self.config.copy()
        move_data_file(config, path)
        moved = replace(self, config=config)
        _ = moved.dataset
        return moved

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns of the run's data; None if they have none, or are no longer available."""
        if self.data_file is not None:
            names = self.data_file["names"]
            return None if names is None else tuple(names)
        try:
            return self.dataset.column_names if self.has_data else None
        except UserError:
            return None

    @property
    def reading(self) -> Reading | None:
        """The keys by which the run read its own file; None for other data."""
        if self.data_file is None:
            return None
        keys = OmegaConf.to_container(self.config.dataset, resolve=True)
        return reading({str(key): value for key, value in keys.items()}) if isinstance(keys, dict) else None

    def to_dtype(self, dtype: str) -> "Model":
        """Convert energy and standardizer in place to a dtype by its name; "auto" keeps that of the run."""
        if dtype != "auto":
            self.energy.to(getattr(torch, dtype))
            self.standardizer.to(getattr(torch, dtype))
        return self

    def parts(self) -> Parts:
        """Data set, energy and method of the run, and its second phase, on the energy's device, as they were trained.

        Raises:
            UserError: data that are no longer available, or a method that does not fit its config.
        """
        like = self.standardizer.like
        dataset = self.dataset.to(like.device, like.dtype)
        if tuple(dataset.shape) != tuple(like.shape):
            found, was = (_describe_shape(shape) for shape in (dataset.shape, like.shape))
            raise UserError(
                f"dataset.path={self.config.dataset.get('path')}: rows have {found}, those of the run had {was}"
            )
        dataset.standardizer.load_state_dict(self.standardizer.state_dict())
        given: dict[str, Any] = {"shape": tuple(dataset.shape), "data": dataset.reference}
        # Densities that the method fits to the rows are those of its state.
        with seeded(0, "initialisation"), of_few_rows():
            method = build(self.config.method, "method", Method, trust=self.trust, **given).to(like.device, like.dtype)
            phase: Mapping[str, Any] = self.trained.get("polish") or {"began": None}
            polish: Polish | None = None
            if phase["began"] is not None:
                polish = build(self.config.polish, "polish", Polish, trust=self.trust, **given)
                polish = polish.to(like.device, like.dtype)
        with _naming(self.path):
            _load(method, "method", self.trained["method"], self.trained["ema"])
            if polish is not None:
                _load(polish, "polish", phase["parts"], self.trained["ema"])
                polish.eval().requires_grad_(False)
        return Parts(dataset, self.energy, method.eval().requires_grad_(False), polish=polish)


def load(
    path: str | Path,
    which: checkpoints.Which = "auto",
    weights: str = "ema",
    trust: Sequence[str] = (),
    device: str = "cpu",
) -> Model:
    """Load the model of a run directory or a checkpoint file; nothing but the checkpoint is read.

    Args:
        path: run directory or checkpoint file.
        which: the best or the last checkpoint of a run directory; auto is the best of a run that has patience, whose
            own results are those of best.pt, else the last.
        weights: "ema" for the averaged weights, "raw" for the last ones.
        trust: packages, beside ours, whose classes the stored config may name.
        device: of the energy.

    Raises:
        UserError: there is no checkpoint, it is damaged, or its config names a class that is not trusted.
    """
    file = checkpoints.locate(path, which)
    state = checkpoints.read(file)
    config = state["config"]
    require_trusted(config, list(trust))
    cfg = OmegaConf.create(config)
    with _naming(file):
        shape = tuple(state["dataset"]["shape"])
        averages = state["ema"]["mean"] if weights == "ema" else {}
        standardizer = Standardizer.identity(shape).to(getattr(torch, cfg.dtype))
        standardizer.load_state_dict(state["dataset"]["standardizer"])
        read = partial(load_member, partial(load, trust=trust), standardizer, "energy.checkpoints")
        context = {"shape": shape, "load_member": read}
        # A config that declares more parameters than the file holds in double precision is a decompression bomb.
        with seeded(0, "initialisation"), size_limited(4 * file.stat().st_size):
            energy: Energy = build(cfg.energy, "energy", Energy, trust=list(trust), **context)
        missing = {f"energy.{name}" for name, _ in energy.named_parameters()} - averages.keys()
        if weights == "ema" and missing:
            raise KeyError(f"no average of {min(missing)}")
        _load(energy.to(dtype=getattr(torch, cfg.dtype)), "energy", state["energy"], averages)
        if weights == "ema" and isinstance(energy, Tilted):
            if "scales" in state:
                energy.scales.take(state["scales"])
            if "tails" in state:
                energy.tails.take(Tails(**state["tails"]))
    target, step = device_of(device), int(state["step"])
    remark = checkpoints.explain_auto(path, which, file, step)
    return Model(
        energy.to(target).eval().requires_grad_(False),
        standardizer.to(target, getattr(torch, cfg.dtype)),
        cfg,
        step,
        dict(state["versions"]),
        file,
        tuple(trust),
        {"method": state["method"], "ema": averages, "polish": state.get("polish")},
        state["dataset"].get("fingerprint"),
        (remark,) if remark else (),
    )


def _describe_shape(shape: Sequence[int]) -> str:
    return f"{shape[0]} column{'' if shape[0] == 1 else 's'}" if len(shape) == 1 else f"shape {list(shape)}"


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Name the checkpoint in the error that its tensors raise if they do not fit its config."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"checkpoint={file}: its tensors do not fit its config ({first_line(error)})") from error


def _load(module: nn.Module, part: str, state: dict[str, Any], averages: Mapping[str, Tensor]) -> None:
    """Load a stored state, and replace its parameters by their moving averages, `part.name` → mean."""
    module.load_state_dict(state)
    parameters = {f"{part}.{name}": parameter for name, parameter in module.named_parameters()}
    with torch.no_grad():
        for name, mean in averages.items():
            if name.startswith(f"{part}."):
                parameters[name].copy_(mean)
