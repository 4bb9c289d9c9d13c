"""The stored config of a run: locate it, read it, and apply the overrides that are allowed when the run is resumed.

It is completed by the keys that were added after its run (`added_keys`).
"""

import copy
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from ebm_cli.config.patterns import explain_pattern
from ebm_cli.config.schema import CHANGEABLE_ON_RESUME
from ebm_cli.config.trust import require_trusted, trust_of
from ebm_cli.errors import UserError, first_line
from ebm_cli.runs.added_keys import FILE, KeyPath, at, fill, mappings, missing_keys
from ebm_cli.runs.changed_defaults import keep_old_defaults
from ebm_cli.runs.parent_folder import explain_parent
from ebm_cli.system.home import expanded

CONFIG = "config.yaml"
"""Name of the file in a run directory."""
DATA_FILE = "dataset.path"
"""Key of the place of a user's file, the only key of the data that a later command may change."""


# --- keys that came later ---------------------------------------------------------------------------------------------


def keep_old_values(cfg: DictConfig, run: Path, typed: Sequence[str]) -> DictConfig:
    """Set every key that is newer than the run in `run`, or has another default now, to what that run did.

    Args:
        cfg: composed; changed in place.
        run: run directory, which need not exist.
        typed: overrides; a key that was typed keeps its value.
    """
    words = {word.partition("=")[0].lstrip("+") for word in typed}
    for (*parents, name), value in _missing_keys_of(run).items():
        node: Any = cfg
        for key in parents:
            # What an interpolation points to has its own entry.
            node = None if node is None or OmegaConf.is_interpolation(node, key) else node[key]
        if node is not None and ".".join(map(str, [*parents, name])) not in words:
            with open_dict(node):
                node[name] = copy.deepcopy(value)
    keep_old_defaults(cfg, tolerant_config(run), words)
    return cfg


def drop_filled(config: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Remove the filled-in keys from the config of a resumed run, so that the config is stored as it was before.

    Every rerun then finds which keys the run was begun without.
    """
    kept = copy.deepcopy(dict(config))
    for (*parents, name), value in _missing_keys_of(run).items():
        node = at(kept, parents)
        if node.get(name) == value:
            del node[name]
    return kept


def _missing_keys_of(run: Path) -> dict[KeyPath, Any]:
    """Missing keys of the config in a run directory; none if there is no such config."""
    config = tolerant_config(run)
    return missing_keys(config) if config else {}


# --- files ------------------------------------------------------------------------------------------------------------


class _WithoutAliases(yaml.SafeLoader):
    """Refuses aliases: with them a few lines could stand for millions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="repeats a part of itself")
        return super().compose_node(parent, index)


def read_plain(text: str) -> Any:
    """Parse YAML without aliases, as stored configs are written.

    Raises:
        yaml.YAMLError: anything else.
    """
    return yaml.load(text, _WithoutAliases)


def run_dir(checkpoint: str | Path) -> Path | None:
    """Run directory of a path: the path itself, or for RUN/checkpoints/FILE the RUN; None for a file elsewhere."""
    path = Path(checkpoint)
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else None


def stored_config(checkpoint: str | Path) -> DictConfig | None:
    """The resolved config of the run directory of a path, with missing keys filled; None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    run = run_dir(checkpoint)
    path = run / CONFIG if run is not None else None
    if path is None or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        read_plain(text)
        stored = OmegaConf.load(io.StringIO(text))
    except Exception as error:  # PyYAML and OmegaConf raise many kinds for a damaged file, and all mean the same here
        raise UserError(f"{path}: not a readable config ({first_line(error)})") from error
    if not isinstance(stored, DictConfig):
        raise UserError(f"{path}: not a config")
    plain = OmegaConf.to_container(stored, resolve=False)
    assert isinstance(plain, dict)
    return OmegaConf.create(fill({str(key): value for key, value in plain.items()}))


def tolerant_config(run: Path) -> dict[str, Any]:
    """The plain config in a run directory; empty if there is none that can be read."""
    try:
        config = read_plain((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def stored_form(cfg: DictConfig) -> dict[str, Any]:
    """The config as it is stored: plain, resolved, with absolute paths, without the `checkpoint` of this command."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return with_absolute_paths({str(key): value for key, value in plain.items()} | {"checkpoint": None})


def with_absolute_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write the paths of data files in a plain config from the root, so that they hold in any folder."""
    absolute = copy.deepcopy(dict(config))
    for path, node in mappings(absolute):
        if node.get("_target_") == FILE and isinstance(node.get("path"), str):
            at(absolute, path)["path"] = str(expanded(node["path"]).absolute())
    return absolute


def move_data_file(config: DictConfig, path: str) -> None:
    """Set the place of the file that a run was trained on; its contents are compared when it is read.

    Raises:
        UserError: the run was not trained on a file.
    """
    if not config.get("dataset") or "path" not in config.dataset:
        name = str(config.dataset["_target_"]).rpartition(".")[2] if config.get("dataset") else "none"
        raise UserError(f"{DATA_FILE}={path}: this model was not trained on a file, its data set is {name}")
    config.dataset.path = path


def follow_data_file(config: DictConfig, checkpoint: Path) -> DictConfig:
    """The config of a checkpoint, with the place to which a later command of its run has moved the data file.

    `best.pt` may be older than that command. The contents are compared when the file is read.
    """
    path, run = config.dataset.get("path"), run_dir(checkpoint)
    if config.dataset.get("_target_") != FILE or path is None or run is None or expanded(path).is_file():
        return config
    node = tolerant_config(run).get("dataset")
    place = node.get("path") if isinstance(node, Mapping) else None
    if not isinstance(place, str) or not expanded(place).is_file():
        return config
    moved = config.copy()
    move_data_file(moved, place)
    return moved


def require_data_file(config: DictConfig) -> None:
    """Require that the file that a run was trained on is where its config says.

    Raises:
        UserError: it is not.
    """
    path = config.dataset.get("path")
    if config.dataset.get("_target_") == FILE and path is not None and not expanded(path).is_file():
        raise UserError(
            f"{DATA_FILE}={path}: the run was trained on this file, which is not there; if it was moved, type its new "
            f"place: {DATA_FILE}=FILE"
        )


# --- resuming ---------------------------------------------------------------------------------------------------------


def merge_resume_overrides(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """The stored config of the run `cfg.checkpoint`, with the few keys that a resumed run may change.

    Args:
        cfg: the composed config, which holds the typed values.
        typed: the overrides as typed.

    Raises:
        UserError: another key was typed, or the run has no stored config.
    """
    names = [word.partition("=")[0].lstrip("+") for word in typed]
    keys = {name.partition("@")[2] or name for name in names}
    for key in sorted(keys):
        if key.partition(".")[0] not in CHANGEABLE_ON_RESUME and key != DATA_FILE:
            can = ", ".join(sorted({*CHANGEABLE_ON_RESUME, DATA_FILE}))
            raise UserError(
                f"{key}: cannot change when a run is continued; only {can} can. Start a new run to change it"
            )
    stored = stored_config(cfg.checkpoint)
    if stored is None:
        if pattern := explain_pattern(cfg.checkpoint):
            raise UserError(f"checkpoint={cfg.checkpoint}: {pattern}")
        parent = explain_parent(Path(cfg.checkpoint), CONFIG)
        raise UserError(
            f"checkpoint={cfg.checkpoint}: not a run directory (no {CONFIG}), so it cannot be resumed"
            f"{f'; {parent}' if parent else ''}"
        )
    require_trusted(OmegaConf.to_container(stored, resolve=False), trust_of(cfg) or [])
    # Keys of versions before the first entry of `added_keys` get the composed values.
    older = {str(key) for key in cfg if key not in stored}
    if DATA_FILE in keys:
        move_data_file(stored, OmegaConf.select(cfg, DATA_FILE))
        keys.remove(DATA_FILE)
    for key in keys | {"checkpoint", "trust"} | older:
        OmegaConf.update(stored, key, OmegaConf.select(cfg, key), merge=False, force_add=True)
    require_data_file(stored)
    return stored
