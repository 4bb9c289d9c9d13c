"""log Z of an energy by the most accurate way available.

Closed form; quadrature in one and two dimensions; importance sampling from a density close to the model; annealing.

The estimate never depends on training: a log Z that a method learned is only compared with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ebm_cli.derivatives import EnergyFn
from ebm_cli.energies.base import Energy
from ebm_cli.evaluation.annealing import Annealed
from ebm_cli.evaluation.importance_sampling import Importance
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import Quadrature, integrate
from ebm_cli.evaluation.quadrature_grid import Grid, Resolution
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value


@dataclass(frozen=True)
class Normalisation:
    """log Z, nats, in the units in which the energy lives.

    Attributes:
        log_z: None where there is no number for it.
        se: its standard error, nats; 0 where it is exact.
        results: its keys of results.json, or why they are absent.
        quadrature: the cells that it was summed over, if it was.
    """

    log_z: float | None
    se: float = 0.0
    results: Results = field(default_factory=Results)
    quadrature: Quadrature | None = None


def known(log_z: float) -> Normalisation:
    """A log Z that is known beforehand: 0 for a normalised density."""
    return Normalisation(log_z, results=Results({"eval/log_z": log_z, "eval/log_z_method": "exact"}))


def unknown(reason: str) -> Normalisation:
    """No log Z, and why."""
    return Normalisation(None, results=Results(absent={"eval/log_z": reason}))


def closed_form(energy: EnergyFn) -> Normalisation | None:
    """The energy's own log Z; None where it has no closed form."""
    log_z = energy.log_z() if isinstance(energy, Energy) else None
    return None if log_z is None else known(float(log_z.detach()))


def by_quadrature(energy: EnergyFn, grid: Grid, resolution: Resolution, shape: tuple[int, ...]) -> Normalisation:
    """log Z by the closed form, and by the sum over cells as a second result, or as the first without a closed form.

    In one and two dimensions; the arguments are those of `integrate`.
    """
    exact = closed_form(energy)
    try:
        quadrature = integrate(energy, grid, resolution, shape)
    except NotIntegrable as reason:
        return exact if exact is not None else unknown(str(reason))
    border = Results({"eval/border_mass": quadrature.border_mass})
    if exact is not None:
        second = Results({"eval/log_z_grid": quadrature.log_z}) | border
        return Normalisation(exact.log_z, results=exact.results | second, quadrature=quadrature)
    found = Results({"eval/log_z": quadrature.log_z, "eval/log_z_method": "grid"}) | border
    return Normalisation(quadrature.log_z, results=found, quadrature=quadrature)


def by_importance(found: Importance) -> Normalisation:
    """log Z by importance sampling, whose conditions hold."""
    values: dict[str, Value] = {
        "eval/log_z": found.log_z,
        "eval/log_z_se": found.log_z_se,
        "eval/log_z_method": "importance",
        "eval/log_z_ess": found.ess,
    }
    return Normalisation(found.log_z, found.log_z_se, Results(values))


def by_annealing(anneal: Callable[[], Annealed]) -> Normalisation:
    """log Z by annealed importance sampling, in any dimension, with its standard error and a note where it is rough.

    Args:
        anneal: runs the annealing; its `NotIntegrable` becomes the reason that log Z is absent.
    """
    try:
        annealed = anneal()
    except NotIntegrable as reason:
        return unknown(str(reason))
    if not math.isfinite(annealed.log_z_se):
        return unknown(f"annealing gives no number: {annealed.warning}")
    values: dict[str, Value] = {
        "eval/log_z": annealed.log_z,
        "eval/log_z_se": annealed.log_z_se,
        "eval/log_z_method": "ais",
        "eval/log_z_ess": annealed.ess,
    }
    notes = () if annealed.warning is None else (f"log Z: {annealed.warning}",)
    return Normalisation(annealed.log_z, annealed.log_z_se, Results(values, notes=notes))
