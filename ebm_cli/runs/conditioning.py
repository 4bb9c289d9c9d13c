"""Conditional sampling: inpainting with a mask, denoising with known noise.

The chains of `ebm sample` start at annealed points, at noise, or at given rows, of a file or held out. With a mask, or
with the standard deviation of the noise on them, each given row has a conditional distribution, which the chains that
start at it sample:

    inpainting    p(x_free | x_kept)      the mask says which coordinates are kept
    denoising     p(x | row)              row = x + noise of a known standard deviation
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ebm_cli.datasets.io.conditioning_files import ARRAYS, read_mask, read_matched, read_rows
from ebm_cli.errors import UserError
from ebm_cli.rng import generator
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Conditional, EnergyFn, Kernel, posterior, wide_starts


@dataclass(frozen=True)
class GivenRows:
    """Rows that the samples are conditioned on.

    Attributes:
        rows: [R, *shape], data units; coordinates that are not kept may be NaN.
        keep: which coordinates are kept [R, *shape]; None if the rows are noisy throughout.
    """

    rows: Tensor
    keep: Tensor | None


@dataclass(frozen=True)
class ChainTarget:
    """The energy that chains sample, and their starts; the coordinates z of a chain may be fewer than a point's.

    Attributes:
        energy: z [n_chains, *Z] → [n_chains], nats.
        starts: z [n_chains, *Z].
        conditional: map from z to points; None if z is the point.
        given: rows that condition the samples, row c mod R those of chain c; None for the unconditional distribution.
        notes: sentences about the file of given rows.
    """

    energy: EnergyFn
    starts: Tensor
    conditional: Conditional | None = None
    given: GivenRows | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """R: chains whose indices differ by a multiple of it sample the same distribution."""
        return 1 if self.given is None else len(self.given.rows)

    def points(self, draws: Tensor) -> Tensor:
        """z [N, n_chains, *Z] → u, standardised units [N, n_chains, *shape]."""
        return draws if self.conditional is None else torch.stack([self.conditional.point(z) for z in draws])

    def in_data_units(self, model: Model, u: Tensor) -> Tensor:
        """Points of all chains [N, n_chains, *shape] in data units; kept coordinates have exactly the given values."""
        x = model.standardizer.to_data_units(u)
        if self.given is None or self.given.keep is None:
            return x
        row = torch.arange(x.shape[1], device=x.device) % self.n_rows
        return torch.where(self.given.keep[row], self.given.rows[row], x)


def make_chain_target(
    model: Model, init: str, mask: str | None, noise_std: float | None, n_chains: int, seed: int
) -> ChainTarget:
    """Read the given rows and masks, and build the energy and the starts of the chains.

    Args:
        model: trained model.
        init: annealed, noise, data, or a file of rows. For annealed, the starts here are noise (see `annealed_starts`).
        mask: file of the coordinates to keep; None to keep none.
        noise_std: standard deviation > 0 of the noise on the rows, data units; None if they are only starts.
        n_chains: ≥ 1; at least the number of rows if these condition the samples.
        seed: of the noise that chains start at.

    Raises:
        UserError: a file that cannot be used, or keys that exclude each other.
    """
    conditioned = mask is not None or noise_std is not None
    if mask is not None and noise_std is not None:
        raise UserError(
            "mask and noise_std exclude each other: a coordinate is either kept or noisy; set one of them to null"
        )
    if conditioned and init in ("annealed", "noise"):
        key = "noise_std" if mask is None else "mask"
        raise UserError(f"{key} needs given rows: set init=FILE, or init=data for held-out rows")
    noise = _noise(model, n_chains, seed)
    if init in ("annealed", "noise"):
        return ChainTarget(model.energy, noise)
    if init == "data" and not model.has_data:
        raise UserError(
            "init=data: an energy without a run has no data; set init=noise, or init=FILE for rows of yours"
        )
    like = model.standardizer.like
    rows, notes = (model.dataset.held_out(n_chains), ()) if init == "data" else _given_rows(model, init)
    rows = rows.to(like)
    keep = None if mask is None else read_mask(mask, model.energy.shape).to(like.device)
    if keep is not None:
        rows, keep = _paired(rows, keep, f"mask={mask}", f"init={init}")
    missing = rows.isnan() if keep is None else rows.isnan() & keep
    if bool(missing.flatten(1).any()):
        row, verb = int(missing.flatten(1).any(1).nonzero()[0]), "keeps" if keep is not None else "holds"
        raise UserError(f"init={init}: row {row} {verb} a number that is not finite")
    if conditioned and n_chains < len(rows):
        raise UserError(f"n_chains must be >= {len(rows)}, one for each row of init={init}, got {n_chains}")
    index = torch.arange(n_chains, device=like.device) % len(rows)
    u = model.standardizer.standardise(rows[index])
    u = torch.where(u.isnan(), noise, u)
    if keep is not None:
        conditional = Conditional(model.energy, u, keep[index])
        return ChainTarget(conditional, conditional.coordinates(u), conditional, GivenRows(rows, keep), notes)
    if noise_std is not None:
        std = noise_std / model.standardizer.scale
        return ChainTarget(posterior(model.energy, u, std), u, given=GivenRows(rows, None), notes=notes)
    return ChainTarget(model.energy, u, notes=notes)


def _given_rows(model: Model, file: str) -> tuple[Tensor, tuple[str, ...]]:
    """The rows of a file [N, *shape], data units, in the columns of the run; and a note about columns left out."""
    path, shape = Path(file).expanduser(), tuple(model.energy.shape)
    if path.suffix.lower() in ARRAYS or not path.is_file():
        return read_rows(file, shape), ()
    rows, note = read_matched("init", file, shape, model.column_names, model.reading)
    return rows, () if note is None else (note,)


def require_stable_step(kernel: Kernel, model: Model, noise_std: float | None) -> None:
    """Refuse a step size that diverges on known noise, which may be narrower than any part of the trained density.

    Raises:
        UserError: it does.
    """
    if noise_std is None:
        return
    variance = float((noise_std / model.standardizer.scale).min()) ** 2
    if kernel.stationary_variance(variance) == float("inf"):
        raise UserError(
            f"noise_std={noise_std:g}: chains of {type(kernel).__name__} with step_size {kernel.step_size:g} diverge "
            "on noise that narrow; lower sampler.step_size, or set sampler=mala adapt=true"
        )


def _noise(model: Model, n_chains: int, seed: int) -> Tensor:
    """Wide noise [n_chains, *shape], standardised units."""
    like = model.standardizer.like
    rng = generator(seed, "starts", like.device)
    return wide_starts(like, n_chains, rng)


def _paired(rows: Tensor, keep: Tensor, mask: str, init: str) -> tuple[Tensor, Tensor]:
    """Pair rows and masks: a single mask applies to every row, a single row gets every mask."""
    if len(keep) != len(rows) and 1 not in (len(keep), len(rows)):
        raise UserError(
            f"{mask}: must hold one mask, or one for each of the {len(rows)} rows of {init}, got {len(keep)}"
        )
    n = max(len(rows), len(keep))
    rows, keep = rows.expand(n, *rows.shape[1:]), keep.expand(n, *keep.shape[1:])
    whole = keep.flatten(1).all(1)
    if bool(whole.any()):
        where = "" if len(whole) == 1 or bool(whole.all()) else f" in row {int(whole.nonzero()[0])}"
        raise UserError(f"{mask}: keeps every coordinate{where}, so there is nothing to sample; 1 means keep, 0 sample")
    if not bool(keep.any()):
        raise UserError(f"{mask}: keeps no coordinate; 1 means keep, 0 sample")
    return rows, keep
