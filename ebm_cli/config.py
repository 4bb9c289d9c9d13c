"""From configs to objects, and the two guards on the way: what may be named, and what its keys may be.

A node with a `_target_` becomes an instance of that class. Its other keys are the constructor's parameters: checked by
name and by annotation before the constructor runs, whose own `ValueError` ("step_size must be > 0, got -1.0") is given
the node's name in front. A parameter that no key gives is filled, by name, from what the run provides (`shape`,
`data`, `total_steps`, …).

Instantiating a config is running code. Of what a person typed, any class will do: they typed it. A config that was
*stored* is somebody else's word: it may name only classes of this package, of the packages in `trust`, and the torch
classes that the shipped configs name; this is checked before anything is imported, since importing runs code too.
"""

import importlib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ebm_cli.catalogue import conf_dir, did_you_mean
from ebm_cli.errors import UserError
from ebm_cli.schema import SCHEMAS

Trust = Sequence[str] | None
"""Packages whose classes a stored config may name beside ours; None is a config that the user typed: any package."""

_PACKAGE = "ebm_cli"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_TORCH_TARGET = re.compile(r"^\s*_target_:\s*(torch\.[\w.]+)", re.MULTILINE)


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
    for key, parameter in _parameters(cls).items():
        if key not in arguments and key in context:
            arguments[key] = context[key]
        elif key not in arguments and parameter.default is parameter.empty:
            raise UserError(f"{path}.{key} is required")
    return cls, {key: _convert(cls, key, value, values, path) for key, value in arguments.items()}


def _read(node: Any, path: str, trust: Trust) -> tuple[type, dict[str, tuple[Any, str]]]:
    """The class that a node names, and for each key its value with the name that a message calls it by."""
    if not isinstance(node, DictConfig | Mapping) or "_target_" not in node:
        raise UserError(f"{path} must be a mapping with _target_, got {_plain(node)!r}")
    entries = dict(_entries(node, path))
    cls = locate(entries.pop("_target_")[0], path, trust)
    known = _parameters(cls)
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
            raise UserError(f"{name}={raw[key]}: {str(reason).splitlines()[0]}") from error


def _construct(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """Call the constructor; what it refuses, or cannot be made of, is the user's error, named by its dotted path."""
    try:
        return cls(**values)
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, ValueError | OSError):
            # Not a refusal but a failure, such as no memory for a width of 10¹².
            raise UserError(f"{path}: {cls.__name__} cannot be made of its keys ({reason(error)})") from error
        message = str(error)
        first = re.match(r"\w+", message)
        inside = first is not None and first[0] in values
        prefix = f"{path}." if path and inside else f"{path}: " if path else ""
        raise UserError(f"{prefix}{message}") from error


def reason(error: BaseException) -> str:
    """What an exception that nobody meant for a reader says, in a line: its kind and its first sentence."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


# --- what may be named ------------------------------------------------------------------------------------------------


@cache
def shipped_torch_targets() -> frozenset[str]:
    """The torch classes that the shipped configs name."""
    return frozenset(
        target for path in conf_dir().rglob("*.yaml") for target in _TORCH_TARGET.findall(path.read_text())
    )


def check_stored(config: Any, trust: Sequence[str] = (), path: str = "") -> None:
    """Refuse a stored config that names anything foreign, or that would still be interpolated. Imports nothing."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            _check_package(config["_target_"], path, trust)
        for key, value in config.items():
            check_stored(value, trust, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list | tuple):
        for i, value in enumerate(config):
            check_stored(value, trust, f"{path}[{i}]")
    elif isinstance(config, str) and "${" in config:
        raise UserError(f"{path}={config}: a stored config holds no interpolations; this one was altered")


def _check_package(target: Any, path: str, trust: Sequence[str]) -> None:
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{path}._target_={target!r}: must be the dotted name of a class")
    package = target.partition(".")[0]
    if package != _PACKAGE and package not in trust and target not in shipped_torch_targets():
        raise UserError(
            f"{path}._target_={target}: a stored config may name only classes of {_PACKAGE}; "
            f"if you trust who wrote it, add trust=[{package}]"
        )


def locate(target: Any, path: str, trust: Trust) -> type:
    """The class of this dotted name, if it may be named here.

    In a stored config the class must also be *defined* in an allowed package: a name that merely begins there reaches
    every module that the package imports.
    """
    _check_package(target, path, [str(target).partition(".")[0]] if trust is None else trust)
    found = _import(target, path)
    if not inspect.isclass(found):
        raise UserError(f"{path}._target_={target}: must name a class, not a {type(found).__name__}")
    if inspect.isabstract(found):
        raise UserError(f"{path}._target_={target}: is abstract; name one of its subclasses")
    home = found.__module__.partition(".")[0]
    if trust is not None and home != _PACKAGE and home not in trust and target not in shipped_torch_targets():
        raise UserError(
            f"{path}._target_={target}: is defined in {found.__module__}, which a stored config may not name"
        )
    return found


def _import(target: str, path: str) -> Any:
    """Import the longest module prefix of a dotted name, then follow attributes."""
    parts = target.split(".")
    if len(parts) < 2:
        raise UserError(f"{path}._target_={target}: must be module.Class")
    for n in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:n])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise UserError(f"{path}._target_={target}: {module} needs {error.name}, not installed") from error
            continue
        for name in parts[n:]:
            if not hasattr(found, name):
                near = did_you_mean(name, [known for known in vars(found) if not known.startswith("_")])
                raise UserError(f"{path}._target_={target}: {module} has no {name}{near}")
            found = getattr(found, name)
        return found
    raise UserError(f"{path}._target_={target}: there is no module {parts[0]}")


# --- what the keys may be ---------------------------------------------------------------------------------------------


@cache
def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name; what only `**kwargs` would take is no parameter."""
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return {}
    hidden = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind not in hidden}


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The constructor's annotations; none where they cannot be resolved at run time."""
    try:
        return typing.get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError, AttributeError):
        return {}


def _convert(cls: type, key: str, value: Any, given: Mapping[str, tuple[Any, str]], path: str) -> Any:
    """The value as its annotation has it (a YAML list for a tuple); what the run itself provides is not judged."""
    hint = _hints(cls).get(key, Any)
    if key not in given:
        return value
    name = given[key][1]
    if not fits(value, hint):
        options = [str(option) for option in get_args(hint)] if get_origin(hint) is Literal else []
        raise UserError(f"{name} must be {describe(hint)}, got {_plain(value)!r}{did_you_mean(str(value), options)}")
    return tuple(value) if isinstance(value, list) and _wants_tuple(hint) else value


def _wants_tuple(hint: Any) -> bool:
    arms = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    origins = {get_origin(arm) or arm for arm in arms}
    return tuple in origins and list not in origins


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what the annotation says. An int is a float; a bool is no number; NaN is no value at all.

    Nor is a whole number that does not fit into 64 bits: no tensor holds it.
    """
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in args)
    if origin in (Union, types.UnionType):
        return any(fits(value, arm) for arm in args)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and args[-1:] != (...,):
            return len(value) == len(args) and all(fits(item, arm) for item, arm in zip(value, args, strict=True))
        return all(fits(item, args[0]) for item in value)
    if hint in (None, types.NoneType):
        return value is None
    if hint is float:
        return (isinstance(value, float) and not math.isnan(value)) or fits(value, int)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if origin is not None:
        return isinstance(value, origin) if inspect.isclass(origin) else True
    return isinstance(value, hint) if inspect.isclass(hint) else True


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(arm) for arm in args)
    if origin in (list, tuple, Sequence):
        if get_origin(args[0]) is Literal:
            return f"a list out of {', '.join(map(str, get_args(args[0])))}"
        inner = [describe(arm).removeprefix("a ").removeprefix("an ") for arm in args if arm is not ...]
        return f"a list of {inner[0]}s" if len(set(inner)) == 1 else f"a list of {', '.join(inner)}"
    if is_dataclass(hint):
        return "a mapping of its keys"
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text", types.NoneType: "null"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value


# --- a whole config ---------------------------------------------------------------------------------------------------


def trust_of(cfg: DictConfig) -> Trust:
    """Whose classes this verb's config may name: anybody's if the user typed it, few if it comes from a stored run."""
    if cfg.get("checkpoint") is None:
        return None
    trust = _plain(cfg.get("trust"))
    # Anything else than a list is refused by the verb's schema, and trusts nobody until then.
    return trust if isinstance(trust, list) else []


def validate(cfg: DictConfig, verb: str) -> None:
    """Refuse what can be known to be wrong before anything runs.

    Every key against the verb's schema and every node against its constructor; a node that needs nothing from the run
    is also built, so that its constructor can refuse values.
    """
    _validate_keys(SCHEMAS[verb], cfg, "", trust_of(cfg) if "checkpoint" in _known(SCHEMAS[verb]) else None)
    checkpoint = _plain(cfg.get("checkpoint"))
    for path in checkpoint if isinstance(checkpoint, list) else [] if checkpoint is None else [checkpoint]:
        if not Path(path).exists():
            raise UserError(f"checkpoint={path}: no such file or directory")


def _validate_keys(schema: type, cfg: DictConfig, path: str, trust: Trust) -> Any:
    hints, values, nodes = _hints(schema), {}, []
    for key, (value, name) in _entries(cfg, path):
        if is_dataclass(hints.get(key)) and isinstance(value, DictConfig):
            values[key] = (_validate_keys(hints[key], value, name, trust), name)
        elif key in hints:
            values[key] = (_plain(value), name)
        elif isinstance(value, DictConfig) and "_target_" in value:
            nodes.append((value, name))
        else:
            raise UserError(f"{name}: no such key{did_you_mean(key, _known(schema))}")
    for key in _known(schema):
        if key not in values:
            raise UserError(f"{path}.{key} is required" if path else f"{key} is required")
    converted = {key: _convert(schema, key, value, values, path) for key, (value, _) in values.items()}
    checked = _construct(schema, converted, path)
    for node, name in nodes:  # last: looking at a class imports it, and torch
        _validate_node(node, name, trust)
    return checked


def _known(schema: type) -> list[str]:
    return list(_parameters(schema))


def _validate_node(node: DictConfig, path: str, trust: Trust) -> None:
    """Check a node's class, keys and types; build it if it is complete in itself."""
    cls, entries = _read(node, path, trust)
    complete = True
    for key, (value, name) in entries.items():
        if isinstance(value, DictConfig) and "_target_" in value:
            _validate_node(value, name, trust)
            complete = False
        else:
            _convert(cls, key, _plain(value), entries, path)
    required = {key for key, parameter in _parameters(cls).items() if parameter.default is parameter.empty}
    if complete and required <= set(entries):
        build(node, path, trust=trust)


def retargeted(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """The config without the keys of a default option whose class was replaced by typing another `_target_`.

    `energy._target_=my_package.MyEnergy` leaves the keys of the option it was composed from, which are another class's.
    What was typed stays, and is refused by name if the class does not have it.
    """
    words = [word.partition("=") for word in typed]
    chosen = [(key.removesuffix("._target_"), target) for key, _, target in words if key.endswith("._target_")]
    kept = {key.lstrip("+") for key, _, _ in words}
    for path, target in chosen:
        node = OmegaConf.select(cfg, path)
        if not isinstance(node, DictConfig):
            continue
        cls = locate(target, path, None)
        known = {"_target_", *_parameters(cls)}
        foreign = [key for key in map(str, node) if key not in known and f"{path}.{key}" not in kept]
        with open_dict(node):
            for key in foreign:
                del node[key]
    return cfg
