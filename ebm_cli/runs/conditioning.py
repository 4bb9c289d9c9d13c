"""What the chains of `ebm sample` begin with, and what they are held to.

Rows that are given (a file's, or held-out ones) are where chains start. With a mask, or with the size of the noise on
them, they are more: each row has a conditional law of its own, and the chains that begin at it sample that.

    inpainting    p(x_free | x_kept)      the mask says which coordinates are kept
    denoising     p(x | row)              row = x + noise of a known standard deviation
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_cli.datasets.io.conditioning_files import read_mask, read_rows
from ebm_cli.errors import UserError
from ebm_cli.rng import generator
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Conditional, EnergyFn, Kernel, posterior, wide_starts


@dataclass(frozen=True)
class Given:
    """Rows that the samples are conditioned on.

    Attributes:
        rows: [R, *shape], data units; what is not kept may be NaN.
        keep: which coordinates are kept [R, *shape]; None where the rows are noisy throughout.
    """

    rows: Tensor
    keep: Tensor | None


@dataclass(frozen=True)
class Target:
    """What the chains run on: their own coordinates z may be fewer than those of a point.

    Attributes:
        energy: z [n_chains, *Z] → [n_chains], nats.
        starts: z [n_chains, *Z].
        conditional: how z lies in a point; None where z is the point.
        given: what the rows hold fixed; None for chains of the whole density. Chain c has row c mod R.
    """

    energy: EnergyFn
    starts: Tensor
    conditional: Conditional | None = None
    given: Given | None = None

    @property
    def n_rows(self) -> int:
        """R: chains whose numbers differ by a multiple of it have the same law."""
        return 1 if self.given is None else len(self.given.rows)

    def points(self, draws: Tensor) -> Tensor:
        """z [N, n_chains, *Z] → u, standardised units [N, n_chains, *shape]."""
        return draws if self.conditional is None else torch.stack([self.conditional.point(z) for z in draws])

    def in_data_units(self, model: Model, u: Tensor) -> Tensor:
        """Points of all chains [N, n_chains, *shape] in data units, where what was kept is what was given."""
        x = model.standardizer.to_data_units(u)
        if self.given is None or self.given.keep is None:
            return x
        row = torch.arange(x.shape[1], device=x.device) % self.n_rows
        return torch.where(self.given.keep[row], self.given.rows[row], x)


def target_of(model: Model, init: str, mask: str | None, noise_std: float | None, n_chains: int, seed: int) -> Target:
    """The law that the chains sample, and where they begin.

    Args:
        model: the energy.
        init: noise, data, or a file of rows.
        mask: a file that says what is kept; None for nothing.
        noise_std: standard deviation > 0 of the noise on the rows, data units; None where they are only a start.
        n_chains: ≥ 1; at least the number of rows where each has its own law.
        seed: of the noise that chains begin with.

    Raises:
        UserError: a file that cannot be used, or keys that do not fit together.
    """
    conditioned = mask is not None or noise_std is not None
    if mask is not None and noise_std is not None:
        raise UserError("mask and noise_std: a coordinate is kept as it is, or known up to noise; give one of them")
    if conditioned and init == "noise":
        key = "noise_std" if mask is None else "mask"
        raise UserError(f"{key} needs rows that are given: init=FILE, or init=data for held-out ones")
    noise = _noise(model, n_chains, seed)
    if init == "noise":
        return Target(model.energy, noise)
    like = model.standardizer.like
    rows = model.dataset.held_out(n_chains) if init == "data" else read_rows(init, model.energy.shape)
    rows = rows.to(like)
    keep = None if mask is None else read_mask(mask, model.energy.shape).to(like.device)
    if keep is not None:
        rows, keep = _paired(rows, keep, f"mask={mask}", f"init={init}")
    missing = rows.isnan() if keep is None else rows.isnan() & keep
    if bool(missing.flatten(1).any()):
        row, what = int(missing.flatten(1).any(1).nonzero()[0]), "keeps" if keep is not None else "holds"
        raise UserError(f"init={init}: row {row} {what} a number that is not finite")
    if conditioned and n_chains < len(rows):
        raise UserError(f"n_chains must be at least {len(rows)}, one a row of init={init}, got {n_chains}")
    index = torch.arange(n_chains, device=like.device) % len(rows)
    u = model.standardizer.standardise(rows[index])
    u = torch.where(u.isnan(), noise, u)
    if keep is not None:
        conditional = Conditional(model.energy, u, keep[index])
        return Target(conditional, conditional.coordinates(u), conditional, Given(rows, keep))
    if noise_std is not None:
        std = noise_std / model.standardizer.scale
        return Target(posterior(model.energy, u, std), u, given=Given(rows, None))
    return Target(model.energy, u)


def check_step(kernel: Kernel, model: Model, noise_std: float | None) -> None:
    """Refuse a step that diverges on the noise alone: known noise is narrower than anything that was trained on."""
    if noise_std is None:
        return
    variance = float((noise_std / model.standardizer.scale).min()) ** 2
    if kernel.stationary_variance(variance) == float("inf"):
        raise UserError(
            f"noise_std={noise_std:g}: too narrow for {type(kernel).__name__} with step_size {kernel.step_size:g}, "
            "whose chains diverge; lower sampler.step_size, or take sampler=mala adapt=true"
        )


def _noise(model: Model, n_chains: int, seed: int) -> Tensor:
    """Wide noise [n_chains, *shape], standardised units."""
    like = model.standardizer.like
    rng = generator(seed, "starts", like.device)
    return wide_starts(like, n_chains, rng)


def _paired(rows: Tensor, keep: Tensor, mask: str, init: str) -> tuple[Tensor, Tensor]:
    """One mask a row: the only mask is that of all rows, and the only row is under all masks."""
    if len(keep) != len(rows) and 1 not in (len(keep), len(rows)):
        raise UserError(f"{mask}: must hold one mask, or one for each of the {len(rows)} rows of {init}: {len(keep)}")
    n = max(len(rows), len(keep))
    rows, keep = rows.expand(n, *rows.shape[1:]), keep.expand(n, *keep.shape[1:])
    whole = keep.flatten(1).all(1)
    if bool(whole.any()):
        where = "" if len(whole) == 1 or bool(whole.all()) else f" in row {int(whole.nonzero()[0])}"
        raise UserError(f"{mask}: keeps every coordinate{where}, so there is nothing to sample; 1 keeps, 0 samples")
    if not bool(keep.any()):
        raise UserError(f"{mask}: keeps no coordinate; 1 keeps, 0 samples")
    return rows, keep
