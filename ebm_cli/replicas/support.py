"""The configs that can be trained as replicas; others are refused before the first directory is made."""

from inspect import isabstract
from typing import Any

from omegaconf import DictConfig

from ebm_cli.energies.mlp import MLP
from ebm_cli.errors import UserError
from ebm_cli.methods import Method
from ebm_cli.methods.replicated import Replicated
from ebm_cli.runs.instantiate import Parts

INSTEAD = "a sweep over seed does it: -m seed=0,1,2"


def objective_of(method: Method) -> type[Replicated[Any]] | None:
    """The class that computes the losses of several runs of this method; None if there is none.

    It belongs to the class that declares it, or to all subclasses of an abstract one that leave its `loss` as it is:
    another subclass may have another loss.
    """
    kind = type(method)
    declared, loss = (next(c for c in kind.__mro__ if name in vars(c)) for name in ("replicated", "loss"))
    is_own = declared is kind or (declared is loss and isabstract(declared))
    return method.replicated() if is_own else None


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
    if (objective := objective_of(method)) is None:
        return f"method {type(method).__name__.lower()}, whose steps are taken one by one"
    if parts.polish is not None:
        return "polish"
    if cfg.parallel.ranks > 1:
        return f"parallel.ranks={cfg.parallel.ranks}"
    if cfg.guard == "rollback":
        return "guard=rollback"
    if cfg.compile == "always":
        return "compile=always"
    return objective.refusal(method)
