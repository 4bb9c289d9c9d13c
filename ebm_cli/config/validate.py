"""From configs to objects, and what can be refused before there are any.

A node with a `_target_` becomes an instance of that class, where it may be named (`trust`). Its other keys are the
constructor's parameters: checked by name and by annotation (`annotations`) before the constructor runs, whose own
`ValueError` ("step_size must be > 0, got -1.0") is given the node's name in front. A parameter that no key gives is
filled, by name, from what the run provides (`shape`, `data`, `total_steps`, …).
"""

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from ebm_cli.config.build import _construct, _entries, _read, build
from ebm_cli.config.schema import SCHEMAS
from ebm_cli.config.trust import Trust, trust_of
from ebm_cli.config.type_checks import converted, hints, parameters, plain
from ebm_cli.errors import UserError, did_you_mean


def validate(cfg: DictConfig, verb: str) -> None:
    """Refuse what can be known to be wrong before anything runs.

    Every key against the verb's schema and every node against its constructor; a node that needs nothing from the run
    is also built, so that its constructor can refuse values.
    """
    _validate_keys(SCHEMAS[verb], cfg, "", trust_of(cfg) if "checkpoint" in _known(SCHEMAS[verb]) else None)
    checkpoint = plain(cfg.get("checkpoint"))
    for path in checkpoint if isinstance(checkpoint, list) else [] if checkpoint is None else [checkpoint]:
        if not Path(path).exists():
            raise UserError(f"checkpoint={path}: no such file or directory")


def _validate_keys(schema: type, cfg: DictConfig, path: str, trust: Trust) -> Any:
    kinds, values, nodes, lists = hints(schema), {}, [], []
    for key, (value, name) in _entries(cfg, path):
        if is_dataclass(kinds.get(key)) and isinstance(value, DictConfig):
            values[key] = (_validate_keys(kinds[key], value, name, trust), name)
        elif key in kinds:
            values[key] = (plain(value), name)
            lists += [(value, name)] if isinstance(value, ListConfig) else []
        elif isinstance(value, DictConfig) and "_target_" in value:
            nodes.append((value, name))
        else:
            raise UserError(f"{name}: no such key{did_you_mean(key, _known(schema))}")
    for key in _known(schema):
        if key not in values:
            raise UserError(f"{path}.{key} is required" if path else f"{key} is required")
    made = {key: converted(schema, key, value, values, path) for key, (value, _) in values.items()}
    checked = _construct(schema, made, path)
    for items, name in lists:
        nodes += [(item, f"{name}[{i}]") for i, item in enumerate(items) if isinstance(item, DictConfig)]
    for node, name in nodes:  # last: looking at a class imports it, and torch
        _validate_node(node, name, trust)
    return checked


def _known(schema: type) -> list[str]:
    return list(parameters(schema))


def _validate_node(node: DictConfig, path: str, trust: Trust) -> None:
    """Check a node's class, keys and types; build it if it is complete in itself."""
    cls, entries = _read(node, path, trust)
    complete = True
    for key, (value, name) in entries.items():
        if isinstance(value, DictConfig) and "_target_" in value:
            _validate_node(value, name, trust)
            complete = False
        else:
            converted(cls, key, plain(value), entries, path)
    required = {key for key, parameter in parameters(cls).items() if parameter.default is parameter.empty}
    if complete and required <= set(entries):
        build(node, path, trust=trust)
