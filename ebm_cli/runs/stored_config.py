"""The stored config of a run: locate it, read it, and apply the overrides that are allowed when the run is resumed.

A stored config lacks the keys that were added after its run. They are filled with the values that reproduce what such
runs did (`ADDED_KEYS`), before the config is hashed or built; they are never filled with newer defaults.

Long because every key that was added is a line.
"""

import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from ebm_cli.config.schema import CHANGEABLE_ON_RESUME
from ebm_cli.config.trust import require_trusted, trust_of
from ebm_cli.errors import UserError, first_line
from ebm_cli.runs.changed_defaults import keep_old_defaults

CONFIG = "config.yaml"
"""Name of the file in a run directory."""
DATA_FILE = "dataset.path"
"""Key of the place of a user's file, the only key of the data that a later command may change."""

FILE = "ebm_cli.datasets.File"
"""`_target_` of data from a user's file, whose `path` names it."""

TILTED = "ebm_cli.energies.Tilted"
WITH_METRIC = [f"ebm_cli.samplers.{name}" for name in ("mala.MALA", "hmc.HMC", "underdamped.Underdamped")]

KeyPath = tuple[str | int, ...]
"""Keys, and indices of lists, from the root of a config."""


class AddedKey(NamedTuple):
    """A config key that was added after runs had been stored without it.

    Attributes:
        name: dotted name in a training config; with a `target`, the name of a constructor's parameter.
        value: reproduces what runs without the key did.
        after: last commit or version whose stored configs lack the key.
        target: `_target_` of the nodes that have the key, wherever they are; None for a key of the config itself.
    """

    name: str
    value: Any
    after: str
    target: str | None = None


# Text was read with a decimal point, names above numbers only, and every column trained on.
ADDED_KEYS: tuple[AddedKey, ...] = (
    AddedKey("copies", "apart", after="9fa8354", target=FILE),
    AddedKey("array", None, "f1ab3ba", FILE),
    AddedKey("columns", None, "f1ab3ba", FILE),
    AddedKey("drop", [], "f1ab3ba", FILE),
    AddedKey("label", None, "f1ab3ba", FILE),
    AddedKey("delimiter", None, "f1ab3ba", FILE),
    AddedKey("decimal", "point", "f1ab3ba", FILE),
    AddedKey("thousands", "none", "f1ab3ba", FILE),
    AddedKey("header", "text", "f1ab3ba", FILE),
    AddedKey("strict", False, after="9fa8354"),
    AddedKey("jitter", 0.0, after="9fa8354", target="ebm_cli.samplers.hmc.HMC"),
    AddedKey("init_from", None, after="08d8297"),
    AddedKey("init_weights", "ema", after="08d8297"),
    # The fitted Gaussian with a correction that nothing bounds.
    AddedKey("reference", "gaussian", after="7e16fc5", target=TILTED),
    AddedKey("marginals", "none", after="7e16fc5", target=TILTED),
    AddedKey("bound", None, after="7e16fc5", target=TILTED),
    AddedKey("measurement", None, after="261f01b"),
    *(AddedKey("metric", "none", "65e3076", target) for target in WITH_METRIC),
    *(AddedKey(name, None, "65e3076", WITH_METRIC[-1]) for name in ("energy_error", "test_every")),
    AddedKey("jumps", 0, after="f63c1fb", target="ebm_cli.methods.CD"),
    AddedKey("weights", "none", after="65e3076", target="ebm_cli.methods.CD"),
    AddedKey("witnesses", 0, after="65e3076", target="ebm_cli.methods.CD"),
    AddedKey("train_means", False, after="65e3076", target="ebm_cli.energies.Mixture"),
    AddedKey("objective", "logistic", after="421cd4e", target="ebm_cli.methods.NCE"),
    AddedKey("estimator", "exact", after="421cd4e", target="ebm_cli.methods.SSM"),
    AddedKey("eps", 0.1, after="421cd4e", target="ebm_cli.methods.SSM"),
    AddedKey("calibrate", False, after="421cd4e", target=TILTED),
    AddedKey("parallel", {"ranks": 1}, after="bb0dc35"),
    AddedKey("eval.fallback", "none", after="bb0dc35"),
    AddedKey("target_accept", 0.8, after="412d032", target="ebm_cli.samplers.nuts.NUTS"),
)
"""Every key that training configs have got since commit 1b2473a, in the order in which they were added."""


# --- keys that came later ---------------------------------------------------------------------------------------------


def missing_keys(config: Mapping[str, Any]) -> dict[KeyPath, Any]:
    """The added keys that a plain stored config lacks, with the values that reproduce what its run did."""
    nodes = list(_mappings(config)) if ADDED_KEYS else []
    found: dict[KeyPath, Any] = {}
    for key in ADDED_KEYS:
        *parents, name = key.name.split(".")
        for path, node in nodes:
            is_its_node = path == tuple(parents) if key.target is None else node.get("_target_") == key.target
            if is_its_node and name not in node:
                found[(*path, name)] = key.value
    return found


def fill(config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a plain stored config by its missing keys."""
    filled = copy.deepcopy(dict(config))
    for (*parents, name), value in missing_keys(config).items():
        _at(filled, parents)[name] = copy.deepcopy(value)
    return filled


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
        node = _at(kept, parents)
        if node.get(name) == value:
            del node[name]
    return kept


def _missing_keys_of(run: Path) -> dict[KeyPath, Any]:
    """Missing keys of the config in a run directory; none if there is no such config."""
    config = tolerant_config(run) if ADDED_KEYS else {}
    return missing_keys(config) if config else {}


def _mappings(node: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Every mapping in a plain config."""
    if isinstance(node, Mapping):
        yield path, node
    entries = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from _mappings(value, (*path, key))


def _at(config: Any, path: Sequence[str | int]) -> Any:
    for key in path:
        config = config[key]
    return config


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
    return OmegaConf.create(fill({str(key): value for key, value in plain.items()})) if ADDED_KEYS else stored


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
    for path, node in _mappings(absolute):
        if node.get("_target_") == FILE and isinstance(node.get("path"), str):
            _at(absolute, path)["path"] = str(Path(node["path"]).expanduser().absolute())
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


def require_data_file(config: DictConfig) -> None:
    """Require that the file that a run was trained on is where its config says.

    Raises:
        UserError: it is not.
    """
    path = config.dataset.get("path")
    if config.dataset.get("_target_") == FILE and path is not None and not Path(path).expanduser().is_file():
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
        raise UserError(f"checkpoint={cfg.checkpoint}: not a run directory (no {CONFIG}), so it cannot be resumed")
    require_trusted(OmegaConf.to_container(stored, resolve=False), trust_of(cfg) or [])
    # Keys of versions before the first entry of ADDED_KEYS get the composed values.
    older = {str(key) for key in cfg if key not in stored}
    if DATA_FILE in keys:
        move_data_file(stored, OmegaConf.select(cfg, DATA_FILE))
        keys.remove(DATA_FILE)
    for key in keys | {"checkpoint", "trust"} | older:
        OmegaConf.update(stored, key, OmegaConf.select(cfg, key), merge=False, force_add=True)
    require_data_file(stored)
    return stored
