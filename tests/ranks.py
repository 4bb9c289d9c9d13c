"""Ranks in threads, and one process that is fed what several would draw: for tests of the division of a run."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ebm_cli.datasets.batches import Batches
from ebm_cli.rng import generator
from ebm_cli.runs.assemble import assemble
from ebm_cli.system.ranks import Ranks
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer

T = TypeVar("T")
CPU = torch.device("cpu")


class Table:
    """A place where the threads of a run lay down what the others ask for."""

    def __init__(self, size: int) -> None:
        self.values: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=20)


class ThreadRanks(Ranks):
    """Ranks that are threads of this process."""

    def __init__(self, index: int, table: Table) -> None:
        super().__init__(index, len(table.values))
        self._table = table

    def collect(self, value: Any) -> list[Any]:
        self._table.values[self.index] = value
        self._table.barrier.wait()
        found = list(self._table.values)
        self._table.barrier.wait()
        return found

    def gather(self, value: Tensor) -> list[Tensor]:
        return self.collect(value.detach().clone())

    def announce(self, value: Any) -> Any:
        return self.collect(value)[0]

    def sum_(self, value: Tensor) -> Tensor:
        return value.copy_(torch.stack(self.gather(value)).sum(0))

    def broadcast_(self, value: Tensor) -> Tensor:
        return value.copy_(self.gather(value)[0])


def together(size: int, work: Callable[[Ranks], T], make: Callable[[int, Table], Ranks] = ThreadRanks) -> list[T]:
    """Run a function in several threads; the results of all. An error of one of them is raised."""
    table, found, errors = Table(size), [None] * size, []

    def run(index: int) -> None:
        try:
            found[index] = work(make(index, table))
        except BaseException as error:
            errors.append(error)
            table.barrier.abort()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return found


class Drawn(TorchFunctionMode):
    """Gives a generator that stands for several the numbers that these would draw, each for its part of the rows.

    Args:
        standing: the generator that stands for the others.
        own: those of the ranks.
        batch_size: rows of all of them. A dimension of m times as many rows has m times each rank's; a tensor without
            rows is the first rank's.
        n_chains: rows of the replay buffer, whose permutations begin with those that each rank takes.
        others: generators that stand for themselves.
    """

    def __init__(
        self,
        standing: torch.Generator,
        own: Sequence[torch.Generator],
        batch_size: int,
        n_chains: int,
        others: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self._others = others
        self._standing, self._own, self._batch, self._chains = standing, own, batch_size, n_chains

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if any(given.get("generator") is other for other in self._others):
            return func(*args, **given)
        rng = given.pop("generator", None)
        if rng is None:
            return func(*args, **given)
        # A generator that the method has made of a seed: each rank has the next one.
        made = [torch.Generator().manual_seed(rng.initial_seed() + i) for i in range(len(self._own))]
        own = self._own if rng is self._standing else made
        if func is torch.randperm:
            return self._permutation(args[0], own, given)
        if func is torch.multinomial:
            n = args[1] // len(own)
            return self._joined([func(args[0], n, *args[2:], generator=g, **given) for g in own], 0, args[1])
        in_place = isinstance(args[0], Tensor) if args else False
        shape = tuple(args[0].shape) if in_place else _shape(args)
        rows = next((d for d, n in enumerate(shape) if n and n % self._batch == 0), None)
        small = [n // len(own) if d == rows else n for d, n in enumerate(shape)]
        if in_place:
            drawn = [func(args[0].new_empty(small), *args[1:], generator=g, **given) for g in own]
        else:
            drawn = [func(small, generator=g, **given) for g in own]
        value = drawn[0] if rows is None else self._joined(drawn, rows, shape[rows])
        return args[0].copy_(value) if in_place else value

    def _joined(self, drawn: list[Tensor], rows: int, n: int) -> Tensor:
        m = n // self._batch
        return torch.cat([each.unflatten(rows, (m, -1)) for each in drawn], rows + 1).flatten(rows, rows + 1)

    def _permutation(self, n: int, own: Sequence[torch.Generator], given: dict[str, Any]) -> Tensor:
        if n != self._chains:
            return next(torch.randperm(n, generator=g, **given) for g in own)
        each, taken = n // len(own), self._batch // len(own)
        all_rows = [torch.randperm(each, generator=g, **given) + i * each for i, g in enumerate(own)]
        return torch.cat([rows[:taken] for rows in all_rows] + [rows[taken:] for rows in all_rows])


def _shape(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if args and not isinstance(args[0], int) else tuple(args)


class JoinedBatches:
    """The batches of several ranks, one below the other."""

    def __init__(self, parts: list[Batches]) -> None:
        self.parts, self.batch_size = parts, sum(part.batch_size for part in parts)

    def next(self) -> Tensor:
        return torch.cat([part.next() for part in self.parts])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parts[0], name)


def trainer_of(cfg: DictConfig, ranks: Ranks) -> Trainer:
    """The trainer of one rank of a new run."""
    parts = assemble(cfg)
    made = make_trainer(cfg, parts, None, ranks)
    made.prepare(parts.dataset.reference)
    return made


def fed_with(cfg: DictConfig, start: dict[str, Any], n_chains: int) -> tuple[Trainer, Drawn]:
    """One process that begins in the joined state of several, and the mode in which it draws what they would."""
    parts, size = assemble(cfg), len(start["ranks"])
    made = make_trainer(cfg, parts)
    made.load_state_dict(start)
    common = [generator(cfg.seed, "data", CPU) for _ in range(size)]
    each = [generator(cfg.seed, Ranks(index, size).stream("data"), CPU) for index in range(size)]
    streams = [parts.dataset.batches(cfg.batch_size, rng) for rng in common]
    for index, stream in enumerate(streams):
        stream.divide(Ranks(index, size), each[index])
    made.batches = JoinedBatches(streams)  # type: ignore[assignment]
    own = [torch.Generator() for _ in range(size)]
    for rng, mine in zip(own, start["ranks"], strict=True):
        rng.set_state(mine["rng"])
    return made, Drawn(made.rng, own, cfg.batch_size, n_chains, [*common, *each, *own])
