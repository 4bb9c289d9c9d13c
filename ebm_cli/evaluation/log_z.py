"""log Z of an energy by the best way there is: closed form, quadrature in one and two dimensions, annealing beyond.

Whatever the way, it is independent of training: what a method believes its log Z to be is only compared with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ebm_cli.derivatives import EnergyFn
from ebm_cli.energies.base import Energy
from ebm_cli.evaluation.annealing import Annealed
from ebm_cli.evaluation.quadrature import Grid, NotIntegrable, Quadrature, Resolution, integrate

Results = dict[str, float | str]


@dataclass(frozen=True)
class Normalisation:
    """log Z, nats, in the units in which the energy lives; how it was found, and what else that gave.

    Attributes:
        log_z: None where there is no number for it.
        se: its standard error, nats; 0 where it is exact.
        values: keys of results.json.
        absent: key → why it could not be had.
        notes: sentences about how far it is to be believed.
        quadrature: what it was computed with, if with cells.
    """

    log_z: float | None
    se: float = 0.0
    values: Results = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    quadrature: Quadrature | None = None


def known(log_z: float) -> Normalisation:
    """What is known beforehand: 0 of a normalised density."""
    return Normalisation(log_z, values={"eval/log_z": log_z, "eval/log_z_method": "exact"})


def by_quadrature(energy: EnergyFn, grid: Grid, resolution: Resolution, shape: tuple[int, ...]) -> Normalisation:
    """By cells, in one and two dimensions; a closed form goes before it, with the sum beside."""
    exact = closed_form(energy)
    try:
        quadrature = integrate(energy, grid, resolution, shape)
    except NotIntegrable as reason:
        return exact if exact is not None else Normalisation(None, absent={"eval/log_z": str(reason)})
    if exact is not None:
        values = exact.values | {"eval/log_z_grid": quadrature.log_z, "eval/border_mass": quadrature.border_mass}
        return Normalisation(exact.log_z, values=values, quadrature=quadrature)
    values = {"eval/log_z": quadrature.log_z, "eval/log_z_method": "grid", "eval/border_mass": quadrature.border_mass}
    return Normalisation(quadrature.log_z, values=values, quadrature=quadrature)


def by_annealing(anneal: Callable[[], Annealed]) -> Normalisation:
    """By annealed importance sampling, in any dimension, with its standard error and a word where it is too rough."""
    try:
        annealed = anneal()
    except NotIntegrable as reason:
        return Normalisation(None, absent={"eval/log_z": str(reason)})
    if not math.isfinite(annealed.log_z_se):
        return Normalisation(None, absent={"eval/log_z": f"annealing gives no number: {annealed.warning}"})
    values: Results = {
        "eval/log_z": annealed.log_z,
        "eval/log_z_se": annealed.log_z_se,
        "eval/log_z_method": "ais",
        "eval/log_z_ess": annealed.ess,
    }
    notes = () if annealed.warning is None else (f"log Z: {annealed.warning}",)
    return Normalisation(annealed.log_z, annealed.log_z_se, values, notes=notes)


def closed_form(energy: EnergyFn) -> Normalisation | None:
    """The energy's own log Z; None where it has no closed form."""
    log_z = energy.log_z() if isinstance(energy, Energy) else None
    return None if log_z is None else known(float(log_z.detach()))
