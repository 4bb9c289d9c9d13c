"""Construction of objects from config nodes.

A node with a `_target_` becomes an instance of that class, if the class is trusted (`trust`). Its other keys are the
constructor's parameters: checked by name and by annotation (`type_checks`) before the constructor runs, whose own
`ValueError` ("step_size must be > 0, got -1.0") is prefixed with the node's name. A parameter that no key gives is
filled, by name, from what the run provides (`shape`, `data`, `total_steps`, …).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ebm_cli.config.trust import Trust, locate
from ebm_cli.config.type_checks import converted, parameters, plain
from ebm_cli.errors import UserError, describe, did_you_mean, first_line

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


# --- config → objects -------------------------------------------------------------------------------------------------


def build(node: Any, path: str, kind: type | tuple[type, ...] = object, *, trust: Trust = (), **context: Any) -> Any:
    """The object that a config node describes; nodes inside it are built first.

    Args:
        node: a mapping with `_target_`, attached to its config so that `${sampler}` in it resolves.
        path: the node's dotted name, for messages.
        kind: what the object must be an instance of.
        trust: whose classes may be named, see `Trust`. The default is that of a stored config: ours alone.
        context: constructor parameters that the run provides, used by name where no key gives them.

    Raises:
        UserError: a name, a key, a type or a value is wrong; the message names it by its dotted path.
    """
    cls, values = _prepare(node, path, kind, trust, context)
    return _construct(cls, values, path)


def _check_kind(cls: type, kind: type | tuple[type, ...], node: Any, path: str) -> None:
    """Before it is made: what is of another kind may do what this one never does, such as fetch files."""
    if not issubclass(cls, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise UserError(f"{path}._target_={node['_target_']}: must name a class of {wanted}")


def _prepare(
    node: Any, path: str, kind: type | tuple[type, ...], trust: Trust, context: Mapping[str, Any]
) -> tuple[type, dict[str, Any]]:
    """The class of a node and its constructor's arguments, with the nodes inside built."""
    cls, values = _read(node, path, trust)
    _check_kind(cls, kind, node, path)

    def built(value: Any, name: str) -> Any:
        if isinstance(value, DictConfig | Mapping) and "_target_" in value:
            return build(value, name, trust=trust, **context)
        if isinstance(value, ListConfig | list):
            return [built(item, f"{name}[{i}]") for i, item in enumerate(value)]
        return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig) else value

    arguments = {key: built(value, name) for key, (value, name) in values.items()}
    for key, parameter in parameters(cls).items():
        if key not in arguments and key in context:
            arguments[key] = context[key]
        elif key not in arguments and parameter.default is parameter.empty:
            raise UserError(f"{path}.{key} is required")
    return cls, {key: converted(cls, key, value, values, path) for key, value in arguments.items()}


def _read(node: Any, path: str, trust: Trust) -> tuple[type, dict[str, tuple[Any, str]]]:
    """The class that a node names, and for each key its value with the name that a message calls it by."""
    if not isinstance(node, DictConfig | Mapping) or "_target_" not in node:
        raise UserError(f"{path} must be a mapping with _target_, got {plain(node)!r}")
    entries = dict(_entries(node, path))
    cls = locate(entries.pop("_target_")[0], path, trust)
    known = parameters(cls)
    for key in entries:
        if key.startswith("_"):
            raise UserError(f"{path}.{key}: not a key; only _target_ may begin with an underscore")
        if key not in known:
            raise UserError(f"{path}.{key}: no such key in {cls.__name__}{did_you_mean(key, known)}")
    return cls, entries


def _entries(node: DictConfig | Mapping[str, Any], path: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    """(key, (value, name)) of a node. What `${sampler}` refers to keeps its own name, `sampler`."""
    raw = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    assert isinstance(raw, Mapping)
    for key in map(str, raw):
        name = f"{path}.{key}" if path else key
        reference = _REFERENCE.fullmatch(raw[key]) if isinstance(raw[key], str) else None
        try:
            yield key, (node[key], reference[1] if reference else name)
        except MissingMandatoryValue:
            raise UserError(f"{name} is required") from None
        except OmegaConfBaseException as error:
            reason = error.__cause__ or error
            raise UserError(f"{name}={raw[key]}: {first_line(reason)}") from error


def _construct(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """Call the constructor; what it refuses, or cannot be made of, is the user's error, named by its dotted path."""
    try:
        return cls(**values)
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, ValueError | OSError):
            # Not a refusal but a failure, such as no memory for a width of 10¹².
            raise UserError(f"{path}: {cls.__name__} cannot be made of its keys ({describe(error)})") from error
        message = str(error)
        first = re.match(r"\w+", message)
        inside = first is not None and first[0] in values
        prefix = f"{path}." if path and inside else f"{path}: " if path else ""
        raise UserError(f"{prefix}{message}") from error
