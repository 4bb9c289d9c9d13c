"""Hydra in half its time: tests run a thousand commands, most of which take less than the composition of their config.

A config file is parsed once for each of its contents, and a command composes its config once, where Hydra composes it
before that to look up `hydra.mode` in it. Commands in processes of their own run on Hydra as it is.
"""

from typing import Any, NamedTuple, TextIO

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins import file_config_source
from hydra._internal.hydra import Hydra
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf


class Composed(NamedTuple):
    """A config, and what it was composed from."""

    loader: ConfigLoaderImpl
    config_name: str | None
    overrides: list[str]
    run_mode: RunMode
    cfg: Any

    def serves(self, loader: ConfigLoaderImpl, config_name: str | None, words: list[str], run_mode: RunMode) -> bool:
        """True for the same words, also with the mode that Hydra adds; the config of a run serves a sweep, too."""
        return (
            (self.loader, self.config_name) == (loader, config_name)
            and self.run_mode in (RunMode.RUN, run_mode)
            and words in (self.overrides, [*self.overrides, f"hydra.mode={run_mode.name}"])
        )


class ParsedOnce:
    """`OmegaConf.load`, with a memory; a file with a mistake is read, and refused, each time."""

    def __init__(self) -> None:
        self._parsed: dict[str, Any] = {}

    def load(self, file: TextIO) -> Any:
        text = file.read()
        if text not in self._parsed:
            file.seek(0)
            self._parsed[text] = OmegaConf.to_container(OmegaConf.load(file))
        return OmegaConf.create(self._parsed[text])


def quicken(patched: pytest.MonkeyPatch) -> None:
    """Make Hydra quick in this process, until the patch is undone."""
    Plugins.instance()  # imports its modules a second time, when it is made
    patched.setattr(file_config_source, "OmegaConf", ParsedOnce())
    mode_of, load = Hydra.get_mode, ConfigLoaderImpl.load_configuration
    kept: list[Composed] = []

    def get_mode(hydra: Any, config_name: str | None, overrides: list[str]) -> Any:
        kept.clear()
        for run_mode in (RunMode.RUN, RunMode.MULTIRUN):
            try:
                cfg = load(hydra.config_loader, config_name, overrides, run_mode)
            except Exception as error:  # any mistake in what was typed: Hydra itself raises it again below
                if "requires --multirun" not in str(error):
                    break
            else:
                kept.append(Composed(hydra.config_loader, config_name, list(overrides), run_mode, cfg))
                return cfg.hydra.mode
        return mode_of(hydra, config_name, overrides)

    def load_configuration(
        loader: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: RunMode, **named: Any
    ) -> Any:
        if not any(one.serves(loader, config_name, overrides, run_mode) for one in kept):
            return load(loader, config_name, overrides, run_mode, **named)
        found = kept.pop()
        for word in overrides[len(found.overrides) :]:
            found.cfg.hydra.mode = run_mode
            found.cfg.hydra.overrides.hydra.append(word)
        return found.cfg

    patched.setattr(Hydra, "get_mode", get_mode)
    patched.setattr(ConfigLoaderImpl, "load_configuration", load_configuration)
