"""The model that `ebm sample` draws from: that of one checkpoint, a composition of several, or an energy alone."""

from functools import partial

from omegaconf import DictConfig

from ebm_cli.errors import UserError
from ebm_cli.runs.composed import compose
from ebm_cli.runs.energy_alone import energy_alone
from ebm_cli.runs.model import Model, load
from ebm_cli.system.device import device_of


def model_to_sample(cfg: DictConfig) -> Model:
    """Load or build the model that the keys of `ebm sample` name.

    Raises:
        UserError: a checkpoint or an energy that cannot be used, or keys that do not fit together.
    """
    device, node = device_of(cfg.device).type, cfg.get("energy")
    if node is not None and cfg.checkpoint is not None:
        raise UserError("energy and checkpoint exclude each other: a run has its own energy; leave one of them out")
    if node is None and cfg.checkpoint is None:
        raise UserError("checkpoint is required, or energy=OPTION for an energy without training")
    if node is not None and cfg.dataset.path is not None:
        raise UserError("dataset.path: an energy without a run has no data set; for starts, set init=FILE")
    if node is None and cfg.shape is not None:
        raise UserError(f"shape={cfg.shape}: a run has its own; it is for energy=OPTION without checkpoint")
    is_list = cfg.checkpoint is not None and not isinstance(cfg.checkpoint, str)
    if not is_list and (cfg.compose.kind != "product" or cfg.compose.weights is not None):
        raise UserError(f"compose: needs checkpoint=[A,B], two or more, got checkpoint={cfg.checkpoint}")
    read = partial(load, which=cfg.which, weights=cfg.weights, trust=list(cfg.trust), device=device)
    if node is not None:
        model = energy_alone(node, [cfg.shape] if isinstance(cfg.shape, int) else cfg.shape, cfg.seed, device)
    elif is_list:
        model = compose(list(cfg.checkpoint), read, cfg.compose.kind, cfg.compose.weights)
    else:
        model = read(cfg.checkpoint)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)
