"""Construction of objects from config nodes.

A node with a `_target_` becomes an instance of that class, if the class is trusted (`trust`). Its other keys are the
constructor's parameters: validated by name and by annotation (`type_checks`) before the constructor runs, whose own
`ValueError` ("step_size must be > 0, got -1.0") is prefixed with the node's name. A parameter that no key gives is
filled, by name, from what the run provides (`shape`, `data`, `total_steps`, …).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ebm_cli.config.near_keys import near_keys, suggestion
from ebm_cli.config.trust import Trust, import_class
from ebm_cli.config.type_checks import convert, parameters, to_plain
from ebm_cli.errors import UserError, describe, first_line, memory_asked_for

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def build(node: Any, path: str, kind: type | tuple[type, ...] = object, *, trust: Trust = (), **context: Any) -> Any:
    """Build the object that a config node describes; the nodes inside it are built first.

    Args:
        node: a mapping with `_target_`, attached to its config so that `${sampler}` in it resolves.
        path: the node's dotted name, for messages.
        kind: what the object must be an instance of.
        trust: packages whose classes may be named, see `Trust`. The default is that of a stored config: ours alone.
        context: constructor parameters that the run provides, used by name if no key gives them.

    Raises:
        UserError: a name, a key, a type or a value is wrong; the message names it by its dotted path.
    """
    cls, arguments = _prepare(node, path, kind, trust, context)
    return construct(cls, arguments, path)


def _prepare(
    node: Any, path: str, kind: type | tuple[type, ...], trust: Trust, context: Mapping[str, Any]
) -> tuple[type, dict[str, Any]]:
    """The class of a node and its constructor's arguments, with the nodes inside it built."""
    cls, entries = read_node(node, path, trust)
    _require_kind(cls, kind, node, path)

    def build_inside(value: Any, name: str) -> Any:
        if isinstance(value, DictConfig | Mapping) and "_target_" in value:
            return build(value, name, trust=trust, **context)
        if isinstance(value, ListConfig | list):
            return [build_inside(item, f"{name}[{i}]") for i, item in enumerate(value)]
        return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig) else value

    arguments = {key: build_inside(value, name) for key, (value, name) in entries.items()}
    for key, parameter in parameters(cls).items():
        if key not in arguments and key in context:
            arguments[key] = context[key]
        elif key not in arguments and parameter.default is parameter.empty:
            raise UserError(f"{path}.{key} is required")
    return cls, {key: convert(cls, key, value, entries, path) for key, value in arguments.items()}


def _require_kind(cls: type, kind: type | tuple[type, ...], node: Any, path: str) -> None:
    """Require a subclass of `kind` before the constructor runs: that of another kind may act, for instance download."""
    if not issubclass(cls, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise UserError(f"{path}._target_={node['_target_']}: must name a class of {wanted}")


def read_node(node: Any, path: str, trust: Trust) -> tuple[type, dict[str, tuple[Any, str]]]:
    """The class that a node names, and its entries: key → (value, dotted name for messages).

    Raises:
        UserError: the node is no mapping with `_target_`, its class may not be named, or a key is no parameter.
    """
    if not isinstance(node, DictConfig | Mapping) or "_target_" not in node:
        raise UserError(f"{path} must be a mapping with _target_, got {to_plain(node)!r}")
    entries = dict(read_entries(node, path))
    cls = import_class(entries.pop("_target_")[0], path, trust)
    known = parameters(cls)
    for key in entries:
        if key.startswith("_"):
            raise UserError(f"{path}.{key}: not a key; only _target_ may begin with an underscore")
        if key not in known:
            raise UserError(f"{path}.{key}: no such key in {cls.__name__}{suggestion(near_keys(key, known))}")
    return cls, entries


def read_entries(node: DictConfig | Mapping[str, Any], path: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Entries of a node: (key, (value, dotted name)). The node behind `${sampler}` keeps its own name, `sampler`."""
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


def construct(cls: type, arguments: Mapping[str, Any], path: str) -> Any:
    """Call the constructor.

    Raises:
        UserError: the constructor fails; the message begins with the node's dotted path.
    """
    try:
        return cls(**arguments)
    except UserError:
        raise
    except Exception as error:
        memory = memory_asked_for(error)
        if memory is not None:
            raise UserError(
                f"{path}: {cls.__name__} needs {memory} at once, more than this machine has; "
                "choose a smaller one, or fewer columns or pixels of the data"
            ) from error
        if not isinstance(error, ValueError | OSError):
            # The constructor did not refuse a value, it failed.
            raise UserError(f"{path}: {cls.__name__} cannot be built from its keys ({describe(error)})") from error
        message = _with_own_place(str(error), cls, path)
        first = re.match(r"\w+", message)
        begins_with_key = first is not None and first[0] in arguments
        prefix = f"{path}." if path and begins_with_key else f"{path}: " if path else ""
        raise UserError(f"{prefix}{message}") from error


def _with_own_place(message: str, cls: type, path: str) -> str:
    """Name the node's keys by the node's place: a constructor writes `dataset.drop=id`, also where it is eval.ood."""
    if path in ("", "dataset"):
        return message
    return re.sub(rf"\bdataset\.(?=(?:{'|'.join(parameters(cls))})\b)", f"{path}.", message)
