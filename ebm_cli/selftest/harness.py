"""The shared parts of all checks: find and build options, and turn a fact into a row of the table.

A fact is a number and a bound: it holds if the number is at most the bound, which NaN never is. A check that raises
becomes a failed row with the message of the exception; something that cannot be checked becomes a skipped row with the
reason.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.build import build
from ebm_cli.config.groups import group_options
from ebm_cli.datasets.io.package_files import PackageMissing
from ebm_cli.errors import UserError, describe, first_line
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import seeded

STREAMS = "check/"
"""Prefix of the names of all random streams of the self-test."""

Outcome = Literal["ok", "FAILED", "skipped"]


class Fact(NamedTuple):
    """A measured number: the fact holds if `number` ≤ `bound`, both in `unit`; an infinite bound is one on nothing."""

    what: str
    number: float
    bound: float
    unit: str

    @property
    def holds(self) -> bool:
        """True if the number is at most the bound, which NaN never is."""
        return self.number <= self.bound


class Skip(NamedTuple):
    """Something that cannot be measured here, and the reason."""

    what: str
    reason: str


class Check(NamedTuple):
    """The facts about one option or one device; `facts` measures them one after the other."""

    name: str
    facts: Callable[[], Iterator[Fact | Skip]]


@dataclass(frozen=True)
class Row:
    """A line of the table: the option or device, the fact, its outcome and numbers."""

    name: str
    what: str
    outcome: Outcome
    number: float | None = None
    bound: float | None = None
    unit: str = ""
    reason: str = ""


class Unavailable(Exception):
    """An option needs something that this machine lacks: a file, or a key that only its user can set."""


@dataclass(frozen=True)
class Harness:
    """The options to check, and the devices and random numbers to check them with.

    Args:
        compose: words of `ebm train` → its config.
        folders: the folders in which options are looked for.
        seed: of all random numbers, ≥ 0.
        devices: devices to check; the arithmetic itself is checked in float64 on the CPU.
    """

    compose: Callable[[Sequence[str]], DictConfig]
    folders: Sequence[Path]
    seed: int
    devices: Sequence[torch.device]

    @cached_property
    def _composed(self) -> dict[tuple[str, ...], DictConfig]:
        return {}

    def options(self, group: str) -> list[str]:
        """The names of a group's options, including those of the user's --config-dir."""
        return list(group_options(group, self.folders))

    def config(self, *words: str) -> DictConfig:
        """The config of `ebm train WORDS`. Composing takes a sixth of a second, so configs are cached."""
        if words not in self._composed:
            self._composed[words] = self.compose(words)
        return self._composed[words]

    def build(self, group: str, name: str, kind: type, **context: Any) -> Any:
        """Build the object that `ebm train GROUP=NAME` builds of this group, in float32 on the CPU.

        Raises:
            Unavailable: a file or an optional package is missing, or a key that the option leaves empty must be set.
            UserError: the constructor refuses anything else.
        """
        return self.build_node(self.config(f"{group}={name}"), group, kind, name, **context)

    def build_node(self, cfg: DictConfig, group: str, kind: type, name: str = "", **context: Any) -> Any:
        """Build the object of a group from a config; raises as `build` does."""
        node = cfg[group]
        try:
            with seeded(self.seed, f"{STREAMS}{group}/{name}/initialisation"):
                return build(node, group, kind, trust=None, **context)
        except UserError as error:
            if isinstance(error.__cause__, OSError | PackageMissing) or _is_about_empty_key(str(error), node, group):
                raise Unavailable(str(error)) from error
            raise

    def rng(self, name: str, device: torch.device | None = None) -> torch.Generator:
        """The generator of one named stream."""
        return generator(self.seed, f"{STREAMS}{name}", device or torch.device("cpu"))


def _is_about_empty_key(message: str, node: DictConfig, group: str) -> bool:
    """True if an error message begins with a key that the option's YAML leaves without a value."""
    named = re.match(rf"{re.escape(group)}\.(\w+)", message)
    # A key that is missing (`???`) is not "in" its node.
    return named is not None and (OmegaConf.is_missing(node, named[1]) or (named[1] in node and node[named[1]] is None))


def measure_check(check: Check) -> Iterator[Row]:
    """Measure the facts of a check as rows; an exception ends the check, never the self-test."""
    try:
        for found in check.facts():
            yield _row(check.name, found)
    except Unavailable as missing:
        yield Row(check.name, "", "skipped", reason=str(missing))
    except UserError as error:
        yield Row(check.name, "", "FAILED", reason=first_line(error))
    except Exception as error:  # any exception of a broken part is the result of this row
        yield Row(check.name, "", "FAILED", reason=describe(error))


def _row(name: str, found: Fact | Skip) -> Row:
    if isinstance(found, Skip):
        return Row(name, found.what, "skipped", reason=found.reason)
    bound = None if math.isinf(found.bound) else found.bound
    return Row(name, found.what, "ok" if found.holds else "FAILED", found.number, bound, found.unit)


def failures(facts: Iterable[Fact | Skip]) -> list[Fact]:
    """The facts that do not hold: `assert failures(kernel_facts(MyKernel(0.5))) == []`."""
    return [fact for fact in facts if isinstance(fact, Fact) and not fact.holds]
