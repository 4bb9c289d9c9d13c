"""`replicas=R` behind `ebm train`, spelled as Hydra reads it: a sweep over seeds with the launcher of replicas."""

import re
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from ebm_cli.errors import UserError

KEY = "replicas"
SEED, CHECKPOINT, DIRECTORY, LAUNCHER = "seed=", "checkpoint=", "hydra.run.dir=", "hydra/launcher="
MOST = 1000
"""Replicas of a command; a mistyped number would otherwise fill the memory."""


def choose_replicas(words: Sequence[str], verb: str, *, composes_only: bool = False) -> tuple[list[str], bool]:
    """Replace `replicas=R` by a sweep over R seeds, from the one that is typed, or 0.

    The seeds are the last values of the sweep, so that the jobs of a group of replicas follow one another.

    Args:
        words: overrides as typed.
        verb: name of the verb.
        composes_only: whether no run is started: the config is that of the first.

    Returns:
        The words, and whether there is more than one replica.

    Raises:
        UserError: a wrong number, or a word that does not go with it.
    """
    own = [word for word in words if word.startswith(f"{KEY}=")]
    if verb != "train" or not own:
        return list(words), False
    kept = [word for word in words if word not in own]
    text = own[-1].partition("=")[2]
    if not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text) <= MOST:
        raise UserError(f"{own[-1]}: replicas takes a whole number from 1 to {MOST}, the number of seeds")
    if text == "1" or composes_only:
        return kept, False
    _require_companions(own[-1], kept)
    seeds = [word for word in kept if word.startswith(SEED)]
    first = int(seeds[-1].removeprefix(SEED)) if seeds else 0
    kept = [word for word in kept if word not in seeds]
    return [*kept, f"{LAUNCHER}replicas", f"{SEED}range({first},{first + int(text)})"], True


def _require_companions(own: str, words: Sequence[str]) -> None:
    for word in words:
        if word.startswith(SEED) and not re.fullmatch(r"[0-9]+", word.removeprefix(SEED)):
            raise UserError(f"{word}: with {own} it is one number, the first of the seeds")
        if word.startswith(CHECKPOINT) and word != f"{CHECKPOINT}null":
            raise UserError(f"{own}: a run is resumed alone; type {word} without it")
        if word.startswith(DIRECTORY):
            raise UserError(
                f"{word}: the runs of {own} lie in one directory each; name the one above: hydra.sweep.dir=DIR"
            )
        if word.startswith(LAUNCHER):
            raise UserError(f"{own} trains all seeds in one process, and {word} starts processes: type one")


def is_replicas(config: DictConfig) -> bool:
    """Return whether the jobs of a sweep are trained as replicas."""
    launcher = config.hydra.launcher
    # Anything may have been typed, and is refused by what checks the launcher.
    return OmegaConf.is_dict(launcher) and str(launcher.get("_target_")).endswith(".ReplicasLauncher")


def require_one_place_for_seeds(config: DictConfig) -> None:
    """Refuse replicas of an experiment that sweeps over seeds itself.

    Raises:
        UserError: it does.
    """
    if is_replicas(config) and "seed" in (config.hydra.sweeper.params or {}):
        raise UserError("replicas: this experiment has seeds of its own; leave replicas=… out")
