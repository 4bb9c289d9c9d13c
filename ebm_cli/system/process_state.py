"""The state of a process that a command changes, put back for a caller that lives on: a notebook, a script, a test.

A command owns its process: it sets up logging, the number of threads, the screen. A function that does the same work
inside another program has to leave that program as it was, also after an error or Ctrl-C.
"""

import gc
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch


@contextmanager
def restored() -> Iterator[None]:
    """Put back the state of the process at the end of the block, however it ends.

    The current folder, the environment, `sys.path`, `sys.argv` and the standard streams; logging (handlers, levels) and
    filters of warnings; garbage collection; the global random states of Python, numpy and torch; torch's threads,
    default dtype, deterministic algorithms and gradient mode.

    Not for two threads at once: each would put back what the other has set.
    """
    parts: list[Callable[[], AbstractContextManager[None]]] = [_surroundings, _screen, _logs, _random_states, _torch]
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for part in parts:
            stack.enter_context(part())
        yield


@contextmanager
def _surroundings() -> Iterator[None]:
    folder, variables, collects = Path.cwd(), dict(os.environ), gc.isenabled()
    places, words = list(sys.path), sys.argv
    try:
        yield
    finally:
        os.chdir(folder)
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        (gc.enable if collects else gc.disable)()
        sys.path[:], sys.argv = places, words


@contextmanager
def _screen() -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        sys.stdout, sys.stderr = streams


@contextmanager
def _logs() -> Iterator[None]:
    """Keep the loggers; `logging.config.dictConfig` would close every handler that it can reach.

    It reaches them by two lists of the module `logging`, which are empty inside the block.
    """
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    kept = [(each, each.level, list(each.handlers), each.propagate, each.disabled) for each in (logging.root, *loggers)]
    library: Any = logging  # the lists are private
    references, names = library._handlerList[:], dict(library._handlers)
    settings = logging.raiseExceptions, logging.lastResort
    library._handlerList.clear()
    library._handlers.clear()
    try:
        yield
    finally:
        for logger, level, handlers, propagate, disabled in kept:
            for handler in logger.handlers:
                if handler not in handlers:
                    handler.close()
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate, logger.disabled = propagate, disabled
        library._handlerList[:] = references
        library._handlers.clear()
        library._handlers.update(names)
        logging.raiseExceptions, logging.lastResort = settings


@contextmanager
def _random_states() -> Iterator[None]:
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 (the global state of the caller)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


@contextmanager
def _torch() -> Iterator[None]:
    threads, dtype, gradients = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(deterministic, warn_only=only_warns)
