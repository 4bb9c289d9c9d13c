"""Trust: the classes that a config may name, because building a config runs code.

Overrides that the user typed may name any class. A *stored* config is untrusted input: it may name only classes of this
package, of the packages in `trust`, and the torch classes that the shipped configs name. Names are validated before
anything is imported, since importing runs code, too.
"""

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig

from ebm_cli.config.groups import conf_dir
from ebm_cli.config.type_checks import to_plain
from ebm_cli.errors import UserError, did_you_mean
from ebm_cli.quoting import typed

Trust = Sequence[str] | None
"""Packages whose classes a stored config may name beside ours; None for a config that the user typed: any package."""

_PACKAGE = "ebm_cli"
_TORCH_TARGET = re.compile(r"^\s*_target_:\s*(torch\.[\w.]+)", re.MULTILINE)


def trust_of(cfg: DictConfig) -> Trust:
    """Trust that this verb's config has: any package without a stored run (`checkpoint`), else those in `trust`."""
    if cfg.get("checkpoint") is None:
        return None
    trust = to_plain(cfg.get("trust"))
    # The verb's schema refuses anything but a list; until then, such a value trusts no package.
    return trust if isinstance(trust, list) else []


@cache
def shipped_torch_targets() -> frozenset[str]:
    """The torch classes that the shipped configs name."""
    return frozenset(
        target for path in conf_dir().rglob("*.yaml") for target in _TORCH_TARGET.findall(path.read_text())
    )


def require_trusted(config: Any, trust: Sequence[str] = (), path: str = "") -> None:
    """Refuse a stored config that names a foreign class or holds an interpolation. Imports nothing.

    Raises:
        UserError: the message names the class, and the override that trusts its package.
    """
    if isinstance(config, Mapping):
        if "_target_" in config:
            _require_trusted_name(config["_target_"], path, trust)
        for key, value in config.items():
            require_trusted(value, trust, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list | tuple):
        for i, value in enumerate(config):
            require_trusted(value, trust, f"{path}[{i}]")
    elif isinstance(config, str) and "${" in config:
        raise UserError(f"{path}={config}: a stored config holds no interpolations; this one was altered")


def _require_trusted_name(target: Any, path: str, trust: Sequence[str]) -> None:
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{path}._target_={target!r}: must be the dotted name of a class")
    package = target.partition(".")[0]
    if package != _PACKAGE and package not in trust and target not in shipped_torch_targets():
        raise UserError(
            f"{path}._target_={target}: a stored config may name only classes of {_PACKAGE}; "
            f"if you trust its author, add {typed('trust', [package])}"
        )


def foreign_packages(config: Any) -> list[str]:
    """The packages, beside ours and torch, whose classes a config names: what `trust` has to list to load it again."""
    if isinstance(config, Mapping):
        target = config.get("_target_")
        own = isinstance(target, str) and (target.startswith(f"{_PACKAGE}.") or target in shipped_torch_targets())
        found = [] if target is None or own else [str(target).partition(".")[0]]
        return sorted({*found, *(name for value in config.values() for name in foreign_packages(value))})
    if isinstance(config, list | tuple):
        return sorted({name for value in config for name in foreign_packages(value)})
    return []


def import_class(target: Any, path: str, trust: Trust) -> type:
    """Import the class of a dotted name, if this config may name it.

    In a stored config the class must also be *defined* in a trusted package: a name that merely begins there reaches
    every module that the package imports.

    Raises:
        UserError: the name is not trusted, does not exist, or is not a concrete class.
    """
    _require_trusted_name(target, path, [str(target).partition(".")[0]] if trust is None else trust)
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
