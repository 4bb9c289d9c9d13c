"""Small pictures of trained models, drawn anew from their checkpoints: density and samples, beside the data's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ebm_cli.comparison.charts import bare
from ebm_cli.comparison.groups import Section
from ebm_cli.comparison.page import Panel
from ebm_cli.config.build import build
from ebm_cli.datasets import Dataset
from ebm_cli.errors import UserError
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import integrate
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, Grid
from ebm_cli.reporting.figures.plane import plane_panels
from ebm_cli.rng import generator
from ebm_cli.runs.model import Model, load
from ebm_cli.runs.record import Record
from ebm_cli.samplers import Kernel, warm_up, wide_starts
from ebm_cli.system.device import set_threads

N_CHAINS = 2000
BURN_IN = 300
"""Steps of each chain from noise to its sample: enough to look at, not to measure by."""
N_ROWS = 2000


def panels_of(section: Section, trust: Sequence[str] = ()) -> list[Panel]:
    """The data, then each group by its median run; a group that cannot be drawn says why.

    Args:
        section: the groups of one data set.
        trust: packages, beside ours, whose classes a stored config may name.

    Cost: about a second for each group with data in two dimensions.
    """
    panels: list[Panel] = []
    for group in section.groups:
        record = group.median(section.ranking)
        try:
            model = load(record.path, trust=trust)
            flat = math.prod(model.energy.shape) == 2
            drawn = _drawn(model) if flat else {}
        except UserError as error:
            panels.append(Panel(group.label, {}, f"no picture: {error}"))
            continue
        except Exception as error:  # a stored config may name anybody's code, which may raise anything
            panels.append(Panel(group.label, {}, f"no picture: {type(error).__name__}: {error}"))
            continue
        if not flat:
            panels.append(_left_behind(group.label, record))
            continue
        if section.name and not any(panel.label == "data" for panel in panels):
            of_data = {"density": "data_density", "samples": "data"}
            panels.insert(0, Panel("data", {what: bare(drawn[key]) for what, key in of_data.items() if key in drawn}))
        images = {what: bare(drawn[what]) for what in ("density", "samples") if what in drawn}
        panels.append(Panel(group.label, images, "" if "density" in images else "no density: exp(−f) has no integral"))
    return panels


def _drawn(model: Model) -> Mapping[str, Any]:
    """What draws each panel of a model in two dimensions."""
    set_threads("auto", model.energy)
    data = model.dataset
    # The model's own units: a data set with other rows would fit another standardizer.
    data.standardizer.load_state_dict(model.standardizer.state_dict())
    return plane_panels(model.energy, data, _samples(model), _log_z(model, data), None, N_ROWS)


def _log_z(model: Model, data: Dataset) -> float | None:
    grid = Grid.around(model.standardizer.standardise(data.held_out(N_ROWS)).flatten(1), COARSE_GRID)
    try:
        return integrate(model.energy, grid, COARSE_GRID, tuple(data.shape)).log_z
    except NotIntegrable:
        return None


def _samples(model: Model) -> Tensor:
    """Where chains of `eval.sampler` stand that began at noise [N_CHAINS, 2], data units."""
    kernel: Kernel = build(model.config.eval.sampler, "eval.sampler", Kernel, trust=model.trust)
    like = model.standardizer.like
    rng = generator(int(model.config.seed), "pictures", like.device)
    _, state = warm_up(kernel, model.energy, wide_starts(like, N_CHAINS, rng), BURN_IN, rng)
    return model.standardizer.to_data_units(state.x)


def _left_behind(label: str, record: Record) -> Panel:
    """The picture that training left in the run's directory."""
    file: Path = record.path / "figures" / "final.png"
    if not file.is_file():
        return Panel(label, {}, "no picture: the run has no figures/final.png")
    return Panel(label, {"data and samples": file.read_bytes()}, wide=True)
