"""A run on processes that something else has started (`parallel.ranks=env`): how the first one has the others join.

The first process alone reads the command, as in any run. The others wait for its config (`training.rank`).
"""

import socket
from pathlib import Path
from typing import Any, Literal, cast

import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.errors import UserError
from ebm_cli.reporting.commands import shell_command
from ebm_cli.reporting.console import relative_path
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.system.device import device_of
from ebm_cli.system.launched import WORD
from ebm_cli.system.meeting import Meeting, meeting
from ebm_cli.system.ranks import ONE, Ranks

Work = Literal["train", "evaluate"]
"""Work that processes do together, by the verb."""

ECHO = 10.0
"""Seconds in which a launcher passes on a signal that its processes have received already."""


def with_number_of_ranks(cfg: DictConfig) -> DictConfig:
    """The config with the number of processes in place of `env`.

    Raises:
        UserError: nothing has started this process as one of several.
    """
    if cfg.parallel.ranks != "env":
        return cfg
    found = meeting()
    if found is None:
        raise UserError(f"{WORD} must be a word of the command: the other processes read no experiment and no file")
    return cast(DictConfig, OmegaConf.merge(cfg, {"parallel": {"ranks": found.place.size}}))


def lead(found: Meeting, cfg: DictConfig, run: Path, work: Work) -> Ranks:
    """Have the other processes train a run, or evaluate one, with this one, their first."""
    if found.place.size == 1:
        return ONE
    # YAML keeps keys that are numbers.
    found.say("task", {"config": OmegaConf.to_yaml(cfg, resolve=True), "run": str(run), "work": work})
    return join(found, cfg)


def join(found: Meeting, cfg: DictConfig) -> Ranks:
    """Join the processes of a run, and wait until all have.

    Raises:
        UserError: some do not come, or have another kind of device.
        ProcessLost: one of them died.
    """
    # A run of one process does without it.
    from ebm_cli.system.process_group import ProcessGroup, stay_here

    place, device = found.place, device_of(cfg.device)
    found.say(f"device/{place.index}", _described(device, place.local_index))
    every = found.everyone("device")
    sizes = [each["size"] for each in found.everyone("who")]
    for index, (other, size) in enumerate(zip(every, sizes, strict=True)):
        if size != sizes[0]:
            raise UserError(f"{WORD}: rank {index} was started as one of {size}, and rank 0 as one of {sizes[0]}")
        if other["kind"] != every[0]["kind"]:
            raise UserError(
                f"{WORD}: rank {index}, on {other['host']}, has device {other['kind']}, and rank 0 {every[0]['kind']}; "
                "give every process a GPU, or set device=cpu"
            )
    if len({each["host"] for each in every}) == 1:
        stay_here()
    return ProcessGroup(place.index, place.size, found.store, device, has_own(every), found.life.explain)


def how_to_continue(run: Path) -> str:
    """The command that continues a run that has lost a process, to append; empty if no checkpoint is seen from here."""
    if not (run / checkpoints.FOLDER / "last.pt").is_file():
        return ""
    command = shell_command("train", {"checkpoint": relative_path(run)})
    return f"; {command} continues from the last checkpoint"


def has_own(devices: list[Any]) -> bool:
    """True if no two processes share a device."""
    return len({(each["host"], each["unit"]) for each in devices}) == len(devices)


def _described(device: torch.device, local_index: int) -> dict[str, str]:
    """Take a device for this process, and describe it: which tasks of Slurm share one is not seen from its number."""
    unit = ""
    if device.type == "cuda":
        torch.cuda.set_device(local_index % torch.cuda.device_count())
        unit = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    return {"kind": device.type, "host": socket.gethostname(), "unit": unit}
