"""Validation of a whole config before anything runs.

Every key is compared with the verb's schema (`schema`), and every node with the constructor of its class (`build`).
"""

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ebm_cli.config.build import build, construct, read_entries, read_node
from ebm_cli.config.flat import flatten
from ebm_cli.config.groups import conf_dir, file_keys
from ebm_cli.config.near_keys import near_keys, suggestion
from ebm_cli.config.optimizer_numbers import require_finite
from ebm_cli.config.patterns import explain_missing
from ebm_cli.config.schema import SCHEMAS
from ebm_cli.config.trust import Trust, trust_of
from ebm_cli.config.type_checks import annotations, convert, parameters, to_plain
from ebm_cli.errors import UserError


def validate(cfg: DictConfig, verb: str) -> None:
    """Refuse a config that is known to be wrong before anything runs.

    Every key is compared with the verb's schema and every node with its constructor; a node that needs nothing from the
    run is also built, so that its constructor can refuse values. Nodes come last, because looking at a class imports
    it, and torch, which takes seconds: what needs no class is refused at once.

    Raises:
        UserError: the first mistake, by its dotted name.
    """
    _require_values(cfg, verb)
    schema = SCHEMAS[verb]
    nodes: list[tuple[DictConfig, str]] = []
    _validate_keys(schema, cfg, "", nodes)
    require_finite(cfg.get("optimizer"))
    trust = trust_of(cfg) if "checkpoint" in parameters(schema) else None
    for node, name in nodes:
        _validate_node(node, name, trust)
    checkpoint = to_plain(cfg.get("checkpoint"))
    for path in checkpoint if isinstance(checkpoint, list) else [] if checkpoint is None else [checkpoint]:
        if not Path(path).exists():
            raise UserError(f"checkpoint={path}: {explain_missing(str(path))}")


def _require_values(cfg: DictConfig, verb: str) -> None:
    """Require a value, and no empty text, for every key of the verb itself; the message has the key's comment."""
    for key in file_keys(conf_dir() / f"{verb}.yaml"):
        if not OmegaConf.is_missing(cfg, key.name) and OmegaConf.select(cfg, key.name) == "":
            raise UserError(f"{key.name}= has no value; it takes: {key.meaning}")
        if OmegaConf.is_missing(cfg, key.name):
            raise UserError(f"{key.name} is required, type {key.name}=…: {key.meaning}")


def _validate_keys(schema: type, cfg: DictConfig, path: str, nodes: list[tuple[DictConfig, str]]) -> Any:
    """Validate a mapping by its schema, a dataclass, and collect its nodes with their names; returns the instance."""
    known, values = annotations(schema), {}
    own: list[tuple[DictConfig, str]] = []
    lists: list[tuple[ListConfig, str]] = []
    for key, (value, name) in read_entries(cfg, path):
        if is_dataclass(known.get(key)) and isinstance(value, DictConfig):
            values[key] = (_validate_keys(known[key], value, name, nodes), name)
        elif key in known:
            values[key] = (to_plain(value), name)
            lists += [(value, name)] if isinstance(value, ListConfig) else []
        elif isinstance(value, DictConfig) and "_target_" in value:
            own.append((value, name))
        else:
            known_here = {*parameters(schema), *_names(cfg)} - {key}
            raise UserError(f"{name}: no such key{suggestion(near_keys(key, known_here))}")
    for key in parameters(schema):
        if key not in values:
            raise UserError(f"{path}.{key} is required" if path else f"{key} is required")
    arguments = {key: convert(schema, key, value, values, path) for key, (value, _) in values.items()}
    for items, name in lists:
        own += [(item, f"{name}[{i}]") for i, item in enumerate(items) if isinstance(item, DictConfig)]
    nodes += own
    return construct(schema, arguments, path)


def _names(cfg: DictConfig) -> list[str]:
    """Dotted names of the values in a config."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    return [name for name, _ in flatten({str(key): value for key, value in plain.items()}) if "_target_" not in name]


def _validate_node(node: DictConfig, path: str, trust: Trust) -> None:
    """Validate a node's class, keys and types; build it if it needs no other object."""
    cls, entries = read_node(node, path, trust)
    is_complete = True
    for key, (value, name) in entries.items():
        if isinstance(value, DictConfig) and "_target_" in value:
            _validate_node(value, name, trust)
            is_complete = False
        else:
            convert(cls, key, to_plain(value), entries, path)
    required = {key for key, parameter in parameters(cls).items() if parameter.default is parameter.empty}
    if is_complete and required <= set(entries):
        build(node, path, trust=trust)
