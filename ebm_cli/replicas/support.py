"""The configs that can be trained as replicas; others are refused before the first directory is made."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from ebm_cli.energies.mlp import MLP
from ebm_cli.errors import UserError
from ebm_cli.methods import Method
from ebm_cli.methods.dsm import DSM
from ebm_cli.methods.nce import NCE
from ebm_cli.methods.sm import SM
from ebm_cli.methods.ssm import SSM
from ebm_cli.replicas.nce import ReplicatedNCE
from ebm_cli.replicas.objective import Objective
from ebm_cli.replicas.score_matching import ReplicatedDSM, ReplicatedSM, ReplicatedSSM
from ebm_cli.runs.instantiate import Parts

OBJECTIVES: dict[type[Method], type[Objective[Any]]] = {
    NCE: ReplicatedNCE,
    SM: ReplicatedSM,
    SSM: ReplicatedSSM,
    DSM: ReplicatedDSM,
}
"""Method → the same for several runs."""
INSTEAD = "a sweep over seed does it: -m seed=0,1,2"


def objective_of(method: Method) -> type[Objective[Any]]:
    """The class that computes the losses of several runs of this method."""
    return OBJECTIVES[type(method)]


def require_supported(cfg: DictConfig, parts: Parts) -> None:
    """Refuse a config that cannot be trained as replicas.

    Args:
        cfg: a training config, validated.
        parts: that it describes.

    Raises:
        UserError: it cannot.
    """
    reason = _refusal(cfg, parts)
    if reason is not None:
        raise UserError(f"replicas cannot be trained with {reason}; {INSTEAD}")


def _refusal(cfg: DictConfig, parts: Parts) -> str | None:
    energy, method = parts.energy, parts.method
    if type(energy) is not MLP:
        return f"energy {type(energy).__name__} (only with energy=mlp)"
    known = OBJECTIVES.get(type(method))
    if known is None:
        names = ", ".join(sorted(kind.__name__.lower() for kind in OBJECTIVES))
        return f"method {type(method).__name__.lower()} (only with {names})"
    if OmegaConf.select(cfg, "parallel.ranks") not in (None, 1):
        return "parallel.ranks"
    if parts.polish is not None:
        return "polish"
    if cfg.parallel.ranks > 1:
        return f"parallel.ranks={cfg.parallel.ranks}"
    if cfg.guard == "rollback":
        return "guard=rollback"
    if cfg.compile == "always":
        return "compile=always"
    return known.refusal(method)
