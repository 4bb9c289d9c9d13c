"""What was typed behind a verb, checked word by word and spelled as Hydra wants it.

Flags are compared with Hydra's own, a group's value with what names an option; `eval.sampler=hmc` is spelled out, and
`ebm sample` is given the sampler that its run was stored with.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ebm_cli.config import groups as catalogue
from ebm_cli.config.trust import check_stored, locate
from ebm_cli.config.type_checks import parameters
from ebm_cli.errors import UserError, did_you_mean
from ebm_cli.runs.stored_config import stored_config

VALIDATE = "hydra.callbacks.validate"
INFO = ("--info", "-i")


class WrongFlag(Exception):
    """A flag that Hydra does not know."""

    exit_code = 2


def prepare(verb: str, argv: Sequence[str]) -> tuple[list[str], tuple[Path, ...]]:
    """Check the flags, spell out our shorthands; also where options are looked for."""
    parser = get_args_parser()
    flags = list(parser._option_string_actions)
    for word in argv:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in flags:
            raise WrongFlag(f"no flag {flag!r}{did_you_mean(flag, flags)}")
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            args = parser.parse_intermixed_args(list(argv))
    except SystemExit as end:
        if end.code:
            raise WrongFlag(said.getvalue().strip().rpartition("error: ")[2]) from None
        raise
    if args.resolve and not args.cfg:
        raise WrongFlag("--resolve belongs to --cfg job, which shows the config")
    where = catalogue.search_path(args.config_dir)
    groups = catalogue.groups(verb, where)
    names = {group.name: group for group in groups}
    overrides = OverridesParser.create().parse_overrides(args.overrides)
    for override in overrides:
        name = override.get_key_element().lstrip("+~")
        if name in names and not override.is_sweep_override() and not _chooses(override):
            known = catalogue.options(names[name].folder, where)
            raise UserError(f"{override.input_line}: {name} takes the name of an option ({', '.join(known)})")
        if override.is_delete() and name in catalogue.paired(verb, where):
            raise UserError(f"{override.input_line}: a run has one; {name}=OPTION chooses another")
        if f"{VALIDATE}.".startswith(f"{name}.") or name.startswith(f"{VALIDATE}."):
            raise UserError(f"{override.input_line}: {VALIDATE} is what refuses a wrong config, and stays")
    nested = {group.package: group for group in groups if group.package != group.folder}
    # Flags first: Hydra's own parser refuses overrides on both sides of a flag.
    words = [word for word in argv if word not in args.overrides]
    # Without its value, this flag would take an override for it.
    words = ["--info=all" if word in INFO and args.info == "all" and "all" not in words else word for word in words]
    words += [_spelled(word, nested) for word in args.overrides]
    if any(group.name == "sampler" and group.default is None for group in groups):
        words += _stored_sampler(overrides)
    return words, where


def _chooses(override: Override) -> bool:
    """Whether the value is an option of a group or several, or keys of the option that is chosen already."""
    value = override.value()
    if override.is_delete():
        return value is None or isinstance(value, str)
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | dict)


def _spelled(word: str, nested: dict[str, catalogue.Group]) -> str:
    """`eval.sampler=hmc` is what a person types for Hydra's `sampler@eval.sampler=hmc`."""
    name, _, value = word.partition("=")
    return f"{nested[name].name}={value}" if name in nested and not value.startswith("{") else word


def _stored_sampler(overrides: Sequence[Override]) -> list[str]:
    """Choose the sampler that is stored in the run, unless one was chosen: then `sampler.noise_scale=0` has a meaning.

    It is made an option of the group under the name `stored`. A sweep over checkpoints has no one stored sampler; of a
    list of them it is that of the first.
    """
    typed = {override.key_or_group: override for override in overrides}
    checkpoint = typed.get("checkpoint")
    if "sampler" in typed or checkpoint is None or checkpoint.is_sweep_override():
        return []
    value = checkpoint.value()
    path = str(value[0] if isinstance(value, list) and value else value)
    stored = stored_config(path) or _config_inside(path)
    if stored is None or not isinstance(stored.get("sampler"), DictConfig):
        return []
    trust = typed["trust"].value() if "trust" in typed else []
    sampler = OmegaConf.to_container(stored.sampler, resolve=False)
    check_stored(sampler, trust if isinstance(trust, list) else [], "sampler")
    ConfigStore.instance().store(group="sampler", name="stored", node=sampler)
    return ["sampler=stored"]


def _config_inside(path: str) -> DictConfig | None:
    """The config in a checkpoint file that lies outside a run directory."""
    if not Path(path).is_file():
        return None
    from ebm_cli.runs import checkpoint as checkpoints  # imports torch

    config = checkpoints.read(Path(path))["config"]
    return OmegaConf.create(config) if isinstance(config, dict) else None


def retargeted(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """The config without the keys of a default option whose class was replaced by typing another `_target_`.

    `energy._target_=my_package.MyEnergy` leaves the keys of the option it was composed from, which are another class's.
    What was typed stays, and is refused by name if the class does not have it.
    """
    words = [word.partition("=") for word in typed]
    chosen = [(key.removesuffix("._target_"), target) for key, _, target in words if key.endswith("._target_")]
    kept = {key.lstrip("+") for key, _, _ in words}
    for path, target in chosen:
        node = OmegaConf.select(cfg, path)
        if not isinstance(node, DictConfig):
            continue
        cls = locate(target, path, None)
        known = {"_target_", *parameters(cls)}
        foreign = [key for key in map(str, node) if key not in known and f"{path}.{key}" not in kept]
        with open_dict(node):
            for key in foreign:
                del node[key]
    return cfg
