"""The file that a run was trained on: recognised by its fingerprint, wherever it is now."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from ebm_cli.config.build import build
from ebm_cli.config.trust import Trust, trust_of
from ebm_cli.datasets import Dataset
from ebm_cli.datasets.fingerprint import changes
from ebm_cli.errors import UserError
from ebm_cli.runs.stored_config import DATA_FILE


def build_data(node: DictConfig, stored: Mapping[str, Any] | None, trust: Trust) -> Dataset:
    """Build the data set of a run; a user's file must hold what it held when the run was trained.

    Args:
        node: the config of the data set.
        stored: the plain fingerprint in the run's checkpoint; None, as in runs of earlier versions, accepts any file.
        trust: packages whose classes may be named.

    Raises:
        UserError: there is no such file, it cannot be read, or it has changed; the message says what has changed.
    """
    dataset: Dataset = build(node, "dataset", Dataset, trust=trust)
    if stored is not None and dataset.fingerprint is not None:
        _require_unchanged(changes(stored, dataset.fingerprint), str(node.path))
    return dataset


def require_same_file(cfg: DictConfig, state: Mapping[str, Any]) -> None:
    """Require that a run continues on the file that it began with.

    Args:
        cfg: a training config.
        state: of the checkpoint from which the run continues.

    Raises:
        UserError: see `build_data`.
    """
    stored = state["dataset"].get("fingerprint")
    if stored is not None:
        build_data(cfg.dataset, stored, trust_of(cfg))


def _require_unchanged(found: Sequence[str], path: str) -> None:
    if found:
        raise UserError(
            f"{DATA_FILE}={path}: not the file that the run was trained on: {'; '.join(found)}. Type the place of that "
            f"file ({DATA_FILE}=FILE), or train a new run on this one"
        )
