"""Small pictures of trained models, drawn from their checkpoints: density and samples, beside the data's."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ebm_cli.comparison.charts import bare_png
from ebm_cli.comparison.groups import Section
from ebm_cli.comparison.page import Panel
from ebm_cli.config.build import build
from ebm_cli.datasets import Dataset
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import integrate
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, Grid
from ebm_cli.reporting.figures.plane import plane_panels
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.rng import generator
from ebm_cli.runs.model import Model, load
from ebm_cli.runs.record import Record
from ebm_cli.samplers import Kernel, warm_up, wide_starts
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.threads import set_threads

if TYPE_CHECKING:
    from ebm_cli.reporting.figures.style import Draw

N_CHAINS = 2000
BURN_IN = 300
"""Steps of each chain from noise to its sample: enough for a picture, not for a measurement."""
N_ROWS = 2000
OF_DATA = {"density": "data_density", "samples": "data"}
"""Contents of a picture of the data → its name in `plane_panels`."""
OF_MODEL = ("density", "samples")
PANELS = {*OF_DATA.values(), *OF_MODEL}


def panels_of(section: Section, trust: Sequence[str] = ()) -> list[Panel]:
    """The data, then each group by its median run; the panel of a group that cannot be drawn says why.

    Args:
        section: the groups of one data set.
        trust: packages, beside ours, whose classes a stored config may name.

    Cost: about a second for each group with data in two dimensions.
    """
    panels: list[Panel] = []
    for group in section.groups:
        record = group.median(section.ranking)
        has_data = not section.name or any(panel.label == "data" for panel in panels)
        notes: list[str] = []
        with optional("the picture", notes):
            of_data, of_group = _panels_of_group(group.label, record, trust)
            if of_data is not None and not has_data:
                panels.insert(0, of_data)
            panels.append(of_group)
        panels += [Panel(group.label, {}, note) for note in notes]
    return panels


def _panels_of_group(label: str, record: Record, trust: Sequence[str]) -> tuple[Panel | None, Panel]:
    """The panel of the data, if they are in two dimensions, and that of a group by this run."""
    model = load(record.path, trust=trust)
    if math.prod(model.energy.shape) != 2:
        return None, _final_picture(label, record)
    drawn = {what: bare_png(draw) for what, draw in _draws(model).items() if what in PANELS}
    of_data = {what: drawn[name] for what, name in OF_DATA.items() if name in drawn}
    images = {what: drawn[what] for what in OF_MODEL if what in drawn}
    note = "" if "density" in images else "no density: exp(−f) has no integral"
    return Panel("data", of_data), Panel(label, images, note)


def _draws(model: Model) -> "dict[str, Draw]":
    """The panels of a model in two dimensions: name → function that draws it."""
    use_full_precision()
    set_threads("auto", model.energy)
    data = model.dataset
    # The model's own units: the standardizer that was fitted to other rows would differ.
    data.standardizer.load_state_dict(model.standardizer.state_dict())
    return plane_panels(model.energy, data, _samples(model), _log_z(model, data), None, N_ROWS)


def _log_z(model: Model, data: Dataset) -> float | None:
    """log Z by a coarse quadrature; None where the energy has no integral."""
    grid = Grid.around(model.standardizer.standardise(data.held_out(N_ROWS)).flatten(1), COARSE_GRID)
    try:
        return integrate(model.energy, grid, COARSE_GRID, tuple(data.shape)).log_z
    except NotIntegrable:
        return None


def _samples(model: Model) -> Tensor:
    """Ends of chains of `eval.sampler` from noise [N_CHAINS, 2], data units."""
    kernel: Kernel = build(model.config.eval.sampler, "eval.sampler", Kernel, trust=model.trust)
    like = model.standardizer.like
    rng = generator(int(model.config.seed), "pictures", like.device)
    _, state = warm_up(kernel, model.energy, wide_starts(like, N_CHAINS, rng), BURN_IN, rng)
    return model.standardizer.to_data_units(state.x)


def _final_picture(label: str, record: Record) -> Panel:
    """The picture that training wrote into the run's directory."""
    file: Path = record.path / "figures" / "final.png"
    if not file.is_file():
        return Panel(label, {}, "no picture: the run has no figures/final.png")
    return Panel(label, {"data and samples": file.read_bytes()}, wide=True)
