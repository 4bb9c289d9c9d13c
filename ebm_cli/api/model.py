"""A trained model for notebooks: energy, score, log-density and samples, in the data's own units."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.api.call import compose_config, guest
from ebm_cli.api.points import Points, Rows, points_of
from ebm_cli.commands import density as density_verb
from ebm_cli.config.validate import validate
from ebm_cli.datasets import Dataset, Standardizer
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import Energy
from ebm_cli.errors import NotTrustworthy, UserError
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.log_z import Normalisation
from ebm_cli.quoting import override
from ebm_cli.runs import chains, composed
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs import model as models
from ebm_cli.runs.chain_settings import DEFAULT_CHAINS, validate_chains
from ebm_cli.system.precision import ProductPrecision


class _HasPath(Protocol):
    @property
    def path(self) -> Path: ...


class Model:
    """A trained energy: p(x) = exp(−energy(x)) / Z, x in the data's own units.

    Rows are numpy arrays, tensors or tables of pandas; numbers come back as an array of the same kind. NaN in a row
    gives NaN. Nothing is recorded for gradients: to differentiate through the energy, or to train it further, take
    `network` and `standardizer`.

    Made by `load` and `compose`.

    Attributes:
        loaded: what was read from the checkpoint.
        sources: checkpoint, or the checkpoints of a composition, by the key of `ebm sample`.
    """

    def __init__(self, loaded: models.Model, sources: Sequence[str], device: str) -> None:
        self.loaded, self.sources, self._device = loaded, tuple(sources), device

    @property
    def network(self) -> Energy:
        """f, the energy in standardised units, in eval mode: energy(x) = f((x − mean)/scale)."""
        return self.loaded.energy

    @property
    def standardizer(self) -> Standardizer:
        """The map between data units and standardised units."""
        return self.loaded.standardizer

    @property
    def config(self) -> DictConfig:
        """The resolved config of the run."""
        return self.loaded.config

    @property
    def step(self) -> int:
        """Training steps behind the weights."""
        return self.loaded.step

    @property
    def path(self) -> Path:
        """The checkpoint file."""
        return self.loaded.path

    @property
    def dataset(self) -> Dataset:
        """The data of the run, built anew: `dataset.held_out(n)` are rows that were not trained on, data units."""
        return self.loaded.dataset

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a point."""
        return tuple(self.standardizer.like.shape)

    @cached_property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns; None where the data have none."""
        return self.loaded.column_names

    def energy(self, x: Rows) -> Rows:
        """Energy of rows, nats: −log p(x) up to a constant.

        Shapes: x [B, *shape] → [B].  Raises: UserError for another shape.
        """
        points = self._points(x)
        found: Rows = points.like_given(self._energy(points))
        return found

    def score(self, x: Rows) -> Rows:
        """∇ log p(x) = −∇ energy(x), per data unit.

        Shapes: x [B, *shape] → [B, *shape].  Raises: UserError for another shape.
        """
        points = self._points(x)
        with ProductPrecision():
            slope = in_chunks(lambda u: value_and_grad(self.network, u)[1], self._standardised(points))
        found: Rows = points.like_given(-slope / self.standardizer.scale)
        return found

    def log_prob(self, x: Rows) -> Rows:
        """log p(x) = −energy(x) − log_z, nats; its standard error is `log_z_se`, the same for all rows.

        Shapes: x [B, *shape] → [B].  Raises: UserError for another shape, or where log Z is not known: the message says
        why.  Cost: that of `log_z` at the first call.
        """
        points = self._points(x)
        found: Rows = points.like_given(-self._energy(points) - self.log_z)
        return found

    @property
    def log_z(self) -> float:
        """log ∫ exp(−energy(x)) dx, nats, over the data's own units; computed at the first use, as `ebm density` does.

        In closed form, by quadrature in one and two dimensions, by importance sampling or annealing beyond; it does not
        depend on what a method learned for it. `eval/log_z` of a run's results is that of the standardised units:
        smaller by the logarithm of the scales.

        Raises:
            UserError: it is not known, and why.
        """
        found = self._normalisation
        if found.log_z is None:
            reason = found.results.absent.get("eval/log_z", "")
            raise UserError(f"log Z is not known: {reason}; energies and scores do not need it")
        return found.log_z + float(self.standardizer.log_det)

    @property
    def log_z_se(self) -> float:
        """Standard error of `log_z`, nats; 0 where it is exact or summed over a grid."""
        return self._normalisation.se

    @property
    def log_z_method(self) -> str:
        """The way in which `log_z` was computed: exact, grid, importance or ais; "unknown" without one."""
        return str(self._normalisation.results.values.get("eval/log_z_method", "unknown"))

    def sample(self, n: int, *overrides: str, sampler: str | None = None, seed: int = 0) -> NDArray[Any]:
        """Draw n points of the model, in data units, as `ebm sample` does; nothing is written.

        Chains start where annealing carried the data to the model, so that separated modes have the model's weights.

        Args:
            n: number of points, ≥ 1.
            overrides: keys of `ebm sample`: "burn_in=2000", "sampler.step_size=0.1", "init=noise".
            sampler: langevin, mala, hmc, …; None is that of the run.
            seed: of the chains, ≥ 0. The same seed gives the same points.

        Returns:
            float array [n, *shape].

        Raises:
            UserError: a mistake in the overrides.
            NotTrustworthy: chains that never moved, or points that are not finite.

        Cost: (burn_in + thin · n / n_chains) steps of n_chains chains; by default at most 1,000 chains and 1,000 steps
        of burn-in.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise UserError(f"n must be a whole number >= 1, got {n!r}")
        chosen = [] if sampler is None else [override("sampler", sampler)]
        typed = any(word.startswith("n_chains=") for word in map(str, overrides))
        whole = int(n) if typed or n <= DEFAULT_CHAINS else _rounded_up(int(n), DEFAULT_CHAINS)
        words = [*self._words, *chosen, override("n_samples", whole), override("seed", seed), *overrides]
        with guest("sample", words):
            cfg = compose_config("sample", words)
            validate(cfg, "sample")
            validate_chains(cfg, self.loaded)
            drawn = chains.draw(cfg, self.loaded)
        faults = problems(drawn.measured.values)
        x = drawn.x.flatten(0, 1)[:n].cpu().numpy()
        if not np.isfinite(x).all():
            faults = [*faults, "samples are not finite"]
        if faults:
            raise NotTrustworthy(" ".join(faults))
        return x

    def _points(self, x: Rows) -> Points:
        return points_of(x, self.shape, self.column_names, self.standardizer.device)

    def _standardised(self, points: Points) -> Tensor:
        # In double precision until the mean is gone: that of a column may be a million times its spread.
        standardizer = self.standardizer
        return ((points.x - standardizer.mean.double()) / standardizer.scale.double()).to(standardizer.like)

    def _energy(self, points: Points) -> Tensor:
        with torch.no_grad(), ProductPrecision():
            return in_chunks(self.network, self._standardised(points))

    @property
    def _words(self) -> list[str]:
        """The overrides of a verb that name this model."""
        named = self.sources[0] if len(self.sources) == 1 else list(self.sources)
        trust = [override("trust", list(self.loaded.trust))] if self.loaded.trust else []
        return [override("checkpoint", named), override("device", self._device), *trust]

    @cached_property
    def _normalisation(self) -> Normalisation:
        words = [override("checkpoint", str(self.path)), override("device", self._device)]
        with guest("density", words):
            cfg = compose_config("density", words)
            return density_verb.reference(cfg, self.loaded)[0]

    def __repr__(self) -> str:
        columns = self.column_names
        what = f"columns {', '.join(columns[:6])}{', …' * (len(columns) > 6)}" if columns else f"shape {self.shape}"
        return f"Model({str(self.path)!r}: {type(self.network).__name__}, {what}, step {self.step:,})"


def load(
    path: str | Path | _HasPath,
    which: checkpoints.Which = "auto",
    weights: str = "ema",
    trust: Sequence[str] = (),
    device: str = "cpu",
) -> Model:
    """Load a trained model; nothing but its checkpoint is read.

    Args:
        path: a run, its directory, or a checkpoint file.
        which: the best or the last checkpoint of a run; auto is the best of a run that has patience, else the last.
        weights: "ema" for the averaged weights, "raw" for the last ones.
        trust: packages, beside ours, whose classes the stored config may name.
        device: cpu, cuda or mps.

    Raises:
        UserError: there is no checkpoint, it is damaged, or its config names a class that is not trusted.
    """
    place = path if isinstance(path, str | Path) else path.path
    loaded = models.load(place, which, weights, trust, device)
    return Model(loaded, [str(loaded.path)], device)


def compose(
    paths: Sequence[str | Path | _HasPath],
    kind: Literal["product", "mixture"] = "product",
    weights: Sequence[float] | None = None,
    trust: Sequence[str] = (),
    device: str = "cpu",
) -> Model:
    """Compose trained models into one, in the data units of the first.

    Args:
        paths: two or more runs, directories or checkpoint files.
        kind: product (likely under all: Σ w f) or mixture (likely under any: −log Σ w exp(−f)).
        weights: w, one number a model, < 0 for "not", > 0 in a mixture; None is 1 each.
        trust, device: as in `load`.

    Raises:
        UserError: a model cannot be loaded, or shapes or weights do not fit.
    """
    places = [str(path if isinstance(path, str | Path) else path.path) for path in paths]
    loaded = composed.compose(places, partial(models.load, trust=trust, device=device), kind, weights)
    return Model(loaded, places, device)


def _rounded_up(n: int, to: int) -> int:
    return -(-n // to) * to
