"""Hydra's global state, fresh for one command inside a program that may use Hydra itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer


@contextmanager
def own_hydra() -> Iterator[None]:
    """Put back Hydra's singletons, its config store and the resolvers of OmegaConf at the end of the block.

    The objects stay the same, because a program may hold them (`cs = ConfigStore.instance()`); their contents are put
    back.
    """
    Plugins.instance()  # imports its modules, which register what is there from then on
    running, config, job, store = GlobalHydra.instance(), HydraConfig.instance(), JobRuntime.instance(), ConfigStore
    before = running.hydra, config.cfg, job.conf
    nodes, resolvers = _copy_of(store.instance().repo), dict(BaseContainer._resolvers)
    running.hydra, config.cfg, job.conf = None, None, OmegaConf.create()
    try:
        yield
    finally:
        GlobalHydra.set_instance(running)  # `hydra.initialize` leaves a copy
        running.hydra, config.cfg, job.conf = before
        store.instance().repo = nodes
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)


def _copy_of(node: Any) -> Any:
    """The nested dictionaries of a config store, with the same nodes in them."""
    return {key: _copy_of(value) for key, value in node.items()} if isinstance(node, dict) else node
