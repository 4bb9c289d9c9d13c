"""What the keys of a node may be: the parameters of its class, each of the kind that its annotation says."""

import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf

from ebm_cli.errors import UserError, did_you_mean


@cache
def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name; what only `**kwargs` would take is no parameter."""
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return {}
    hidden = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind not in hidden}


@cache
def hints(cls: type) -> dict[str, Any]:
    """The constructor's annotations; none where they cannot be resolved at run time."""
    try:
        return typing.get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError, AttributeError):
        return {}


def converted(cls: type, key: str, value: Any, given: Mapping[str, tuple[Any, str]], path: str) -> Any:
    """The value as its annotation has it (a YAML list for a tuple); what the run itself provides is not judged."""
    hint = hints(cls).get(key, Any)
    if key not in given:
        return value
    name = given[key][1]
    if not fits(value, hint):
        raise UserError(f"{name} must be {describe(hint)}, got {plain(value)!r}{_suggestion(value, hint)}")
    return tuple(value) if isinstance(value, list) and _wants_tuple(hint) else value


def _suggestion(value: Any, hint: Any) -> str:
    """The options that a wrong word, or the first wrong word of a list, may stand for."""
    if isinstance(value, list | tuple) and get_origin(hint) in (list, tuple, Sequence):
        item = get_args(hint)[0]
        wrong = next((word for word in value if not fits(word, item)), None)
        return _suggestion(wrong, item) if isinstance(wrong, str) else ""
    return did_you_mean(str(value), [str(option) for option in _options(hint)])


def _options(hint: Any) -> tuple[Any, ...]:
    """The values that an annotation names, alone or as one of its alternatives; empty where it names none."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    arms = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    return tuple(option for arm in arms if get_origin(arm) is Literal for option in get_args(arm))


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
        if options := _options(args[0]):
            nodes = ", or mappings with _target_" if fits({}, args[0]) else ""
            return f"a list out of {', '.join(map(str, options))}{nodes}"
        inner = [describe(arm).removeprefix("a ").removeprefix("an ") for arm in args if arm is not ...]
        return f"a list of {inner[0]}s" if len(set(inner)) == 1 else f"a list of {', '.join(inner)}"
    if is_dataclass(hint):
        return "a mapping of its keys"
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text", types.NoneType: "null"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


def plain(value: Any) -> Any:
    """A value without OmegaConf around it."""
    return OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
