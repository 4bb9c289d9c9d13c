"""What all checks share: how options are found and built, and how a fact becomes a row.

A fact is a number and a bound: it holds where the number is not above the bound (NaN is above all of them). What raises
is a failed row that says what was raised; what cannot be checked is a skipped row that says why.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.build import build
from ebm_cli.config.groups import group_options
from ebm_cli.errors import UserError
from ebm_cli.rng import generator

Verdict = Literal["ok", "FAILED", "skipped"]


class Fact(NamedTuple):
    """Something measured: it holds if `number` ≤ `bound`, both in `unit`."""

    what: str
    number: float
    bound: float
    unit: str


class Skip(NamedTuple):
    """Something that cannot be measured here, and why."""

    what: str
    reason: str


class Check(NamedTuple):
    """The facts about one option, or one device; `facts` measures them one after the other."""

    name: str
    facts: Callable[[], Iterator[Fact | Skip]]


@dataclass(frozen=True)
class Row:
    """A line of the table: what was checked, what came out, and what that means."""

    name: str
    what: str
    verdict: Verdict
    number: float | None = None
    bound: float | None = None
    unit: str = ""
    reason: str = ""


class Unavailable(Exception):
    """An option needs something that is not here: a file, a key that only its user can set."""


@dataclass(frozen=True)
class Bench:
    """Where options are found, and what they are checked on.

    Args:
        compose: words of `ebm train` → its config.
        where: the folders that options are looked for in.
        seed: of all random numbers, ≥ 0.
        devices: what is checked beside the arithmetic, which is checked in float64 on the CPU.
    """

    compose: Callable[[Sequence[str]], DictConfig]
    where: Sequence[Path]
    seed: int
    devices: Sequence[torch.device]

    @cached_property
    def _composed(self) -> dict[tuple[str, ...], DictConfig]:
        return {}

    def options(self, group: str) -> list[str]:
        """The names of a group's options, the user's among them."""
        return list(group_options(group, self.where))

    def config(self, *words: str) -> DictConfig:
        """The config of `ebm train WORDS`. Composing takes a sixth of a second, so it is kept."""
        if words not in self._composed:
            self._composed[words] = self.compose(words)
        return self._composed[words]

    def build(self, group: str, name: str, kind: type, **context: Any) -> Any:
        """What `ebm train GROUP=NAME` builds of this group, in float32 on the CPU.

        Raises:
            Unavailable: a file is not there, or a key that the option leaves empty must be set.
            UserError: anything else that its constructor refuses.
        """
        node = self.config(f"{group}={name}")[group]
        try:
            with seeded(self.rng(f"{group}/{name}/initialisation")):
                return build(node, group, kind, trust=None, **context)
        except UserError as error:
            if isinstance(error.__cause__, OSError) or _left_empty(node, group, str(error)):
                raise Unavailable(str(error)) from error
            raise

    def rng(self, name: str, device: torch.device | None = None) -> torch.Generator:
        """A generator of its own for each name."""
        return generator(self.seed, f"check/{name}", device or torch.device("cpu"))


def _left_empty(node: DictConfig, group: str, message: str) -> bool:
    """Whether a message is about a key that the option's YAML leaves without a value."""
    named = re.match(rf"{re.escape(group)}\.(\w+)", message)
    # A key that is missing (`???`) is not "in" its node.
    return named is not None and (OmegaConf.is_missing(node, named[1]) or (named[1] in node and node[named[1]] is None))


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Modules draw initial weights from torch's global generator: seeded inside the block, restored after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        yield


def rows(check: Check) -> Iterator[Row]:
    """Measure a check's facts, and judge each; an exception ends the check, and never the self-test."""
    try:
        for found in check.facts():
            yield _judged(check.name, found)
    except Unavailable as missing:
        yield Row(check.name, "", "skipped", reason=str(missing))
    except Exception as error:  # whatever a broken part raises is this row's result
        yield Row(check.name, "", "FAILED", reason=_one_line(error))


def _judged(name: str, found: Fact | Skip) -> Row:
    if isinstance(found, Skip):
        return Row(name, found.what, "skipped", reason=found.reason)
    verdict: Verdict = "ok" if found.number <= found.bound else "FAILED"
    return Row(name, found.what, verdict, found.number, found.bound, found.unit)


def _one_line(error: Exception) -> str:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = "" if isinstance(error, UserError) else type(error).__name__
    return ": ".join(part for part in (kind, said) if part)
