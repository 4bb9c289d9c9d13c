"""A study of Optuna for a search: what the next trial is, how each went, and which are worth stopping.

A study lives in its storage, so that the same command continues it and several processes share it. Its trials have the
numbers of the sweep's jobs. A trial that is running belongs to a process, named in the trial; if that process is gone,
the next command takes the trial over, in the directory in which it began.
"""

import os
import random
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ebm_cli.cli.search_space import Numbers, Space, Words
from ebm_cli.errors import UserError, first_line
from ebm_cli.quoting import override

MINE = "process"
FOLDER = "folder"
REASON = "reason"
"""Names of what a trial notes beside its values: its process, its directory and why it failed."""
SETTINGS = "settings"
"""Name of what a study notes: the overrides that all of its trials have."""
NOT_THE_TRIALS = ("checkpoint_every", "keep", "threads")
"""Keys of which trials of one study may have different values."""
MADE_TWICE = ("alembic_version", "already exists")
"""Words of a database that another process makes at the same moment."""
ATTEMPTS = 10
"""Times that such a database is opened."""


class Options(NamedTuple):
    """Keys of hydra.sweeper; their meanings and ranges are in conf/hydra/sweeper/optuna.yaml."""

    n_trials: int
    study_name: str
    storage: str | None
    sampler: str
    seed: int
    pruner: str
    startup: int

    def check(self) -> None:
        """Refuse wrong values.

        Raises:
            UserError: one is out of its range.
        """
        for key, least in (("n_trials", 1), ("seed", 0), ("startup", 0)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"hydra.sweeper.{key}={value}: a whole number >= {least}")
        for key, known in (("sampler", ("tpe", "random")), ("pruner", ("median", "none"))):
            if getattr(self, key) not in known:
                raise UserError(f"hydra.sweeper.{key}={getattr(self, key)}: one of {', '.join(known)}")


class Search:
    """The study of a search.

    Args:
        options: of the search.
        space: the values to choose from.
        folder: of the sweep.
        fixed: overrides that all trials have.

    Raises:
        UserError: the storage cannot be opened, or the study is that of another search.
    """

    def __init__(self, options: Options, space: Space, folder: Path, fixed: Sequence[str] = ()) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._options = options
        self._space = space
        self.storage = options.storage or f"sqlite:///{folder / 'study.db'}"
        self.study = self._opened()
        self._require_same(sorted(word for word in fixed if word.partition("=")[0] not in NOT_THE_TRIALS))
        self._running: dict[int, Trial] = {}

    def _opened(self) -> Study:
        """Open the study, or make it."""
        median = optuna.pruners.MedianPruner(n_startup_trials=self._options.startup)
        for left in reversed(range(ATTEMPTS)):
            try:
                return optuna.create_study(
                    study_name=self._options.study_name,
                    storage=_open(self.storage),
                    load_if_exists=True,
                    direction="minimize",
                    pruner=median if self._options.pruner == "median" else optuna.pruners.NopPruner(),
                )
            except Exception as error:  # of the database's own library, or of the file system
                if not (left and any(words in str(error) for words in MADE_TWICE)):
                    raise UserError(f"hydra.sweeper.storage={self.storage}: {first_line(error)}") from error
            time.sleep(random.uniform(0.1, 0.5))  # not in step with the other
        raise AssertionError

    def _require_same(self, fixed: list[str]) -> None:
        """Refuse a study of another search: its values would be compared with those of this one.

        Raises:
            UserError: its trials have other keys, other kinds of values or other settings.
        """
        where, cure = f"hydra.sweeper.study_name={self._options.study_name}", f"in {self.storage}; name another study"
        wanted = {key: _distribution(values) for key, values in self._space.items()}
        for trial in self.study.get_trials(deepcopy=False):
            # One whose process was killed early may lack some.
            missing = wanted.keys() - trial.params.keys() if trial.state.is_finished() and trial.params else ()
            if missing or trial.params.keys() - wanted.keys():
                raise UserError(f"{where}: its trials choose {', '.join(trial.params)} {cure}")
            for key, before in trial.distributions.items():
                try:
                    check_distribution_compatibility(before, wanted[key])
                except ValueError as error:
                    raise UserError(f"{where}: its trials choose {key} among other values {cure}") from error
        settings = self.study.user_attrs.get(SETTINGS)
        if settings is None:
            self.study.set_user_attr(SETTINGS, fixed)
        elif settings != fixed:
            raise UserError(f"{where}: its trials have other settings ({' '.join(settings) or 'the defaults'}) {cure}")

    def next_trial(self) -> int | None:
        """Number of the next trial: one whose process is gone, or a new one; None if there are enough."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.number not in self._running and _is_gone(frozen):
                return self._take(Trial(self.study, frozen._trial_id))
        if len(self.study.get_trials(deepcopy=False)) >= self._options.n_trials:
            return None
        return self._take(self.study.ask())

    def _take(self, trial: Trial) -> int:
        # Seeded by the trial's number: the same values after a restart, and others in each process.
        self.study.sampler = _sampler(self._options, trial.number)
        trial.set_user_attr(MINE, {"pid": os.getpid(), "host": socket.gethostname()})
        for key, values in self._space.items():
            _suggest(trial, key, values)
        self._running[trial.number] = trial
        return int(trial.number)

    def overrides(self, number: int) -> list[str]:
        """The values of a trial as overrides."""
        return _overrides(self.study.get_trials(deepcopy=False)[number].params, self._space)

    def folder(self, number: int) -> Path | None:
        """Directory in which an earlier command began a trial; None for a new one."""
        found = self._running[number].user_attrs.get(FOLDER)
        return None if found is None else Path(found)

    def place(self, number: int) -> Path | None:
        """Directory of any trial of the study; None before it has begun."""
        found = self.study.get_trials(deepcopy=False)[number].user_attrs.get(FOLDER)
        return None if found is None else Path(found)

    def began(self, number: int, folder: Path) -> None:
        """Note where a trial runs."""
        self._running[number].set_user_attr(FOLDER, str(folder))

    def should_stop(self, number: int, values: Mapping[int, float]) -> bool:
        """Report the monitored results of a running trial by their steps; True if it is worth stopping."""
        trial = self._running[number]
        known = self.study.get_trials(deepcopy=False)[number].intermediate_values
        new = [(step, value) for step, value in values.items() if step not in known]
        for step, value in new:
            trial.report(value, step)
        return bool(new) and bool(trial.should_prune())

    def tell(self, number: int, value: float | None, reason: str = "", *, is_pruned: bool = False) -> None:
        """Record the end of a trial: its value, or why it has none."""
        trial = self._running.pop(number)
        if reason:
            trial.set_user_attr(REASON, reason)
        if is_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif value is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def leave(self, number: int) -> None:
        """Leave an interrupted trial to the next command."""
        self._running.pop(number).set_user_attr(MINE, {})

    def count(self, *states: TrialState) -> int:
        """Trials of the study in these states."""
        return len(self.study.get_trials(deepcopy=False, states=states))

    def count_of_others(self, own: Collection[int]) -> int:
        """Trials that other commands run or have run: neither one's own, nor interrupted ones that wait."""
        trials = [t for t in self.study.get_trials(deepcopy=False) if t.number not in own]
        return sum(t.state is not TrialState.RUNNING or not _is_gone(t) for t in trials)

    @property
    def best(self) -> tuple[int, float, dict[str, Any], list[str]] | None:
        """Number, value, parameters and overrides of the best trial; None before one has finished."""
        if not self.count(TrialState.COMPLETE):
            return None
        trial = self.study.best_trial
        assert trial.value is not None
        return trial.number, trial.value, dict(trial.params), _overrides(trial.params, self._space)


def _overrides(params: dict[str, Any], space: Space) -> list[str]:
    """Values of the parameters in Hydra's grammar; words are as they were typed already."""
    return [
        f"{key}={params[key]}" if isinstance(values, Words) else override(key, params[key])
        for key, values in space.items()
    ]


def _distribution(values: Numbers | Words) -> BaseDistribution:
    if isinstance(values, Words):
        return CategoricalDistribution(values.values)
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.is_log, step=int(values.step or 1))
    return FloatDistribution(float(values.low), float(values.high), log=values.is_log, step=values.step)


def _suggest(trial: Trial, key: str, values: Numbers | Words) -> None:
    found = _distribution(values)
    if isinstance(found, CategoricalDistribution):
        trial.suggest_categorical(key, found.choices)
    elif isinstance(found, IntDistribution):
        trial.suggest_int(key, found.low, found.high, step=found.step, log=found.log)
    else:
        assert isinstance(found, FloatDistribution)
        trial.suggest_float(key, found.low, found.high, step=found.step, log=found.log)


def _sampler(options: Options, number: int) -> BaseSampler:
    seed = (options.seed * 1_000_003 + number) % 2**32
    if options.sampler == "random":
        return RandomSampler(seed)
    return TPESampler(n_startup_trials=options.startup, seed=seed)


def _open(storage: str) -> BaseStorage:
    if storage.endswith(".journal"):
        return JournalStorage(JournalFileBackend(storage.removeprefix("file://")))
    if "://" not in storage:
        raise ValueError("neither a URL such as sqlite:///study.db, nor a file that ends in .journal")
    # Processes that share a file of SQLite wait for one another.
    options = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite:") else {}
    return RDBStorage(storage, engine_kwargs=options)


def _is_gone(trial: FrozenTrial) -> bool:
    """True if the process of a running trial is known to have ended; processes of another host are unknown."""
    owner = trial.user_attrs.get(MINE)
    if not owner:
        return owner is not None  # None: just made by another process, which has not signed it yet
    if owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(owner["pid"] == os.getpid())
