"""Types of constructor arguments: the parameters of a class, and whether a value has the type of its annotation."""

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

OTHER_OPTIONS = {
    "gpu": "cuda", "float": "float32", "single": "float32", "fp32": "float32", "double": "float64", "fp64": "float64"
}  # fmt: skip
"""Values in other programs → ours."""


@cache
def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, without `*args` and `**kwargs`."""
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return {}
    hidden = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind not in hidden}


@cache
def annotations(cls: type) -> dict[str, Any]:
    """The constructor's annotations by name; empty if they cannot be resolved at run time."""
    try:
        return typing.get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError, AttributeError):
        return {}


def convert(cls: type, key: str, value: Any, given: Mapping[str, tuple[Any, str]], path: str) -> Any:
    """Validate a constructor argument and convert it to its annotation (a YAML list to a tuple).

    Args:
        cls: class of the constructor.
        key: name of the parameter.
        value: of the argument.
        given: key → (value, name for messages) of the config. Another argument comes from the run and is returned as
            it is.
        path: dotted name of the node.

    Raises:
        UserError: the value has another type.
    """
    annotation = annotations(cls).get(key, Any)
    if key not in given:
        return value
    name = given[key][1]
    if not has_type(value, annotation):
        wanted, near = describe_type(annotation), _suggestion(value, annotation)
        near = near or (f"; write {name}=[{value}]" if isinstance(value, str) and has_type([value], annotation) else "")
        raise UserError(f"{name} must be {wanted}, got {to_plain(value)!r}{near}")
    return tuple(value) if isinstance(value, list) and _wants_tuple(annotation) else value


def _suggestion(value: Any, annotation: Any) -> str:
    """`; did you mean X?` for a wrong word, or for the first wrong word of a list; `; write 1000000` for 1e6."""
    if isinstance(value, list | tuple) and get_origin(annotation) in (list, tuple, Sequence):
        item = get_args(annotation)[0]
        wrong = next((word for word in value if not has_type(word, item)), None)
        return _suggestion(wrong, item) if isinstance(wrong, str) else ""
    if isinstance(value, float) and value.is_integer() and has_type(int(value), annotation):
        return f"; write {int(value)}"
    options = [str(option) for option in _options(annotation)]
    known = OTHER_OPTIONS.get(str(value).lower())
    return f"; did you mean {known}?" if known in options else did_you_mean(str(value), options)


def _options(annotation: Any) -> tuple[Any, ...]:
    """The values that an annotation lists, alone or as one of its alternatives; empty if it lists none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    arms = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    return tuple(option for arm in arms if get_origin(arm) is Literal for option in get_args(arm))


def _wants_tuple(annotation: Any) -> bool:
    arms = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    origins = {get_origin(arm) or arm for arm in arms}
    return tuple in origins and list not in origins


def has_type(value: Any, annotation: Any) -> bool:
    """Return whether a value has the type of an annotation.

    An int is a valid float; a bool is no number; NaN is not a valid value. A whole number must fit into 64 bits,
    because no tensor holds a larger one.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in args)
    if origin in (Union, types.UnionType):
        return any(has_type(value, arm) for arm in args)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and args[-1:] != (...,):
            return len(value) == len(args) and all(has_type(item, arm) for item, arm in zip(value, args, strict=True))
        return all(has_type(item, args[0]) for item in value)
    if annotation in (None, types.NoneType):
        return value is None
    if annotation is float:
        return (isinstance(value, float) and not math.isnan(value)) or has_type(value, int)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if origin is not None:
        return isinstance(value, origin) if inspect.isclass(origin) else True
    return isinstance(value, annotation) if inspect.isclass(annotation) else True


def describe_type(annotation: Any) -> str:
    """An annotation in words: "a list of numbers or null"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if origin in (Union, types.UnionType):
        # A config cannot hold the tensor that torch's optimizers take as well.
        arms = [arm for arm in args if getattr(arm, "__name__", "") != "Tensor"]
        return " or ".join(dict.fromkeys(describe_type(arm) for arm in arms))
    if origin in (list, tuple, Sequence):
        if options := _options(args[0]):
            nodes = ", or mappings with _target_" if has_type({}, args[0]) else ""
            return f"a list out of {', '.join(map(str, options))}{nodes}"
        inner = [describe_type(arm).removeprefix("a ").removeprefix("an ") for arm in args if arm is not ...]
        return f"a list of {inner[0]}s" if len(set(inner)) == 1 else f"a list of {', '.join(inner)}"
    if is_dataclass(annotation):
        return "a mapping of its keys"
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text", types.NoneType: "null"}
    return names.get(annotation, f"a {getattr(annotation, '__name__', annotation)}")


def to_plain(value: Any) -> Any:
    """A value as plain Python objects: an OmegaConf list or mapping is converted, another value is returned."""
    return OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
