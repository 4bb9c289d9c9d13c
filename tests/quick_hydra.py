"""Hydra in a fifth of its time: tests run a thousand commands, which would mostly compose their configs.

A config file and an interpolation are parsed once for each of their texts, the shipped options that were chosen are
merged once, and a command composes its config once, where Hydra composes it before that to look up `hydra.mode` in it.
Commands in processes of their own run on Hydra as it is; `tests/test_quick_hydra.py` compares the two.
"""

import copy
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from functools import lru_cache
from typing import Any, NamedTuple, TextIO

import omegaconf._utils
import omegaconf.base
import pytest
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf, grammar_parser

from ebm_cli.config.groups import conf_dir


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
            self._parsed[text] = OmegaConf.load(file)
        return copy.deepcopy(self._parsed[text])


class MergedOnce:
    """Shipped options, merged in the order of the defaults list: a function of what was chosen, not of the values.

    Where a folder of a test's own has options, too, or a program stored one, they are read and merged each time.
    """

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}
        self._listed: dict[Any, Any] = {}
        self._merged: dict[Any, Any] = {}
        self._list = defaults_list.create_defaults_list
        self._merge = ConfigLoaderImpl._compose_config_from_defaults_list
        self._embed = ConfigLoaderImpl._embed_result_config
        self._stored = set(_names(ConfigStore.instance().repo))

    def are_shipped(self, repo: Any) -> bool:
        """True if each option is one of Hydra's own or one of the package's."""
        paths = {source.path for source in repo.get_sources()}
        return paths == {"hydra.conf", str(conf_dir()), ""} and set(_names(ConfigStore.instance().repo)) == self._stored

    def listed(self, repo: Any, config_name: str | None, overrides_list: list[Any], **named: Any) -> Any:
        """`create_defaults_list`, in which only choices of options matter; a wrong choice is refused each time."""
        if not self.are_shipped(repo):
            return self._list(repo=repo, config_name=config_name, overrides_list=overrides_list, **named)
        repo.cache = self._read
        words = [word for word in overrides_list if not word.is_sweep_override()]
        values = [word for word in words if isinstance(word.value(), dict) or not repo.group_exists(word.key_or_group)]
        choices = [word for word in words if not any(word is value for value in values)]
        key = (config_name, *(word.input_line for word in choices), *sorted(named.items()))
        if key not in self._listed:
            self._listed[key] = self._list(repo=repo, config_name=config_name, overrides_list=choices, **named)
        return replace(self._listed[key], config_overrides=values)

    def merge(self, loader: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        """`ConfigLoaderImpl._compose_config_from_defaults_list`; the caller changes what it gets."""
        if not self.are_shipped(repo):
            return self._merge(loader, defaults, repo)
        key = tuple(astuple(default) for default in defaults)
        if key not in self._merged:
            self._merged[key] = pickle.dumps(self._merge(loader, defaults, repo))
        return pickle.loads(self._merged[key])  # in a fifth of the time of `copy.deepcopy`

    def embed(self, read: Any, package: str | None) -> Any:
        """`ConfigLoaderImpl._embed_result_config`: without a package, a file becomes part of what it is merged into."""
        if not (read.header["package"] if package is None else package):
            read = replace(read, config=copy.deepcopy(read.config))
        return self._embed(read, package)


def _names(stored: Mapping[str, Any], folder: str = "") -> Iterator[str]:
    """The path of each config in a `ConfigStore`."""
    for name, value in stored.items():
        if isinstance(value, dict):
            yield from _names(value, f"{folder}{name}/")
        else:
            yield folder + name


def quicken(patched: pytest.MonkeyPatch) -> None:
    """Make Hydra quick in this process, until the patch is undone."""
    Plugins.instance()  # imports its modules a second time, when it is made
    parsed = ParsedOnce()
    for module in (file_config_source, importlib_resources_config_source):
        patched.setattr(module, "OmegaConf", parsed)
    parse = lru_cache(maxsize=10_000)(grammar_parser.parse)
    for module in (omegaconf._utils, omegaconf.base):
        patched.setattr(module, "parse", parse)
    # Its copy is made to be given other sources, each of which stays as it is.
    patched.setattr(ConfigRepository, "__deepcopy__", lambda repo, memo: copy.copy(repo), raising=False)
    merged = MergedOnce()
    patched.setattr(config_loader_impl, "create_defaults_list", merged.listed)
    patched.setattr(
        ConfigLoaderImpl, "_compose_config_from_defaults_list", lambda *args, **named: merged.merge(*args, **named)
    )
    patched.setattr(ConfigLoaderImpl, "_embed_result_config", merged.embed)
    _compose_once(patched)


def _compose_once(patched: pytest.MonkeyPatch) -> None:
    """Hand the config that was composed to look up `hydra.mode` to the run itself."""
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
