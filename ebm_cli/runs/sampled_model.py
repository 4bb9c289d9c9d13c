"""The model that `ebm sample` draws from: that of one checkpoint, or a composition of several."""

from functools import partial

from omegaconf import DictConfig

from ebm_cli.errors import UserError
from ebm_cli.runs.model import Model, compose, load
from ebm_cli.system.device import device_of


def model_to_sample(cfg: DictConfig) -> Model:
    """Load the model that the keys of `ebm sample` name.

    Raises:
        UserError: a checkpoint that cannot be used, or keys that do not fit together.
    """
    device = device_of(cfg.device).type
    read = partial(load, which=cfg.which, weights=cfg.weights, trust=list(cfg.trust), device=device)
    if isinstance(cfg.checkpoint, str):
        if cfg.compose.kind != "product" or cfg.compose.weights is not None:
            raise UserError(f"compose: needs checkpoint=[A,B], two or more, got checkpoint={cfg.checkpoint}")
        model = read(cfg.checkpoint)
    else:
        model = compose(list(cfg.checkpoint), read, cfg.compose.kind, cfg.compose.weights)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)
