"""The config that a verb runs with: the composed one, or the stored one of a run that is resumed."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ebm_cli.config.trust import import_class
from ebm_cli.config.type_checks import parameters
from ebm_cli.runs.stored_config import keep_old_values, merge_resume_overrides

DEFAULT_SAMPLER = "ebm_cli.samplers.mala.MALA"
"""Class of `eval.sampler` where none was chosen."""


def effective_config(cfg: DictConfig, verb: str, typed: Sequence[str], run: Path | None) -> DictConfig:
    """The config that the verb's function is called with.

    Args:
        cfg: as Hydra composed it, without the node `hydra`.
        verb: name of the verb.
        typed: overrides of this job.
        run: directory of the run, which need not exist; None if it is not known.

    Raises:
        UserError: an override is not allowed for a run that is resumed.
    """
    # Iterating over Hydra's own list would resolve interpolations in the words.
    words = OmegaConf.to_container(typed, resolve=False) if isinstance(typed, ListConfig) else list(typed)
    assert isinstance(words, list)
    if verb == "train" and isinstance(cfg.get("checkpoint"), str):
        return _respect_sampler(merge_resume_overrides(cfg, words), words)
    cfg = _respect_sampler(drop_foreign_keys(cfg, words), words)
    return keep_old_values(cfg, run, words) if verb == "train" and run is not None else cfg


def _respect_sampler(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """Settle `eval.fallback=auto` where a sampler was chosen: then no other chains follow its own."""
    if OmegaConf.select(cfg, "eval.fallback") == "auto":
        names = [word.partition("=")[0].lstrip("+") for word in typed]
        chosen = any(f"{name}.".startswith(("sampler@eval.sampler.", "eval.sampler.")) for name in names)
        if chosen or OmegaConf.select(cfg, "eval.sampler._target_") != DEFAULT_SAMPLER:
            cfg.eval.fallback = "none"
    return cfg


def drop_foreign_keys(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """Remove from `cfg` the keys of a default option whose class was replaced by an override of `_target_`.

    `energy._target_=my_package.MyEnergy` leaves the keys of the option that the node was composed from, which belong to
    another class. Keys that were typed stay, so that one which the class does not have is refused by name.
    """
    words = [word.partition("=") for word in typed]
    chosen = [(key.removesuffix("._target_"), target) for key, _, target in words if key.endswith("._target_")]
    typed_keys = {key.lstrip("+") for key, _, _ in words}
    for path, target in chosen:
        node = OmegaConf.select(cfg, path)
        if not isinstance(node, DictConfig):
            continue
        known = {"_target_", *parameters(import_class(target, path, None))}
        foreign = [key for key in map(str, node) if key not in known and f"{path}.{key}" not in typed_keys]
        with open_dict(node):
            for key in foreign:
                del node[key]
    return cfg
