"""The place of a process that something else has started as one of several: torchrun, or `srun` of Slurm.

torchrun says it in RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, Slurm in variables of its own; those of
torchrun come first, because torchrun may itself be started by Slurm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ebm_cli.errors import UserError

WORD = "parallel.ranks=env"
TORCHRUN = "python -m torch.distributed.run --nproc_per_node=N -m ebm_cli …"
PORTS = 20_000
"""First of as many ports, of which a job of Slurm has one by its number."""


@dataclass(frozen=True)
class Place:
    """A process among those that were started together.

    Args:
        index: of this process, from 0.
        size: processes.
        local_index: of this process among those of its machine.
        address, port: of the first process, where all meet.
        name: of the job and its attempt, so that those of two jobs never meet.
        is_hosted: whether the launcher itself keeps the place where they meet, as torchrun does.
    """

    index: int
    size: int
    local_index: int
    address: str
    port: int
    name: str
    is_hosted: bool = False


def place_of(variables: Mapping[str, str]) -> Place:
    """The place of this process, by its environment variables.

    Raises:
        UserError: a variable is missing, is no number, or contradicts another.
    """
    if "RANK" in variables or "WORLD_SIZE" in variables:
        found = _of_torchrun(variables)
    elif "SLURM_PROCID" in variables:
        found = _of_slurm(variables)
    else:
        raise UserError(
            f"{WORD}: no launcher has started this process (neither RANK nor SLURM_PROCID is set); start it with srun, "
            f"or with {TORCHRUN}, or have it start its own processes with parallel.ranks=N"
        )
    if not 0 <= found.index < found.size:
        raise UserError(f"{WORD}: this process is rank {found.index} of {found.size}, which are counted from 0")
    return found


def is_another(variables: Mapping[str, str]) -> bool:
    """True if this process is certainly not the first of several."""
    return any(variables.get(name, "0").strip() not in ("", "0") for name in ("RANK", "SLURM_PROCID"))


def first_host(nodes: str) -> str:
    """The first machine of a node list of Slurm: `gpu[003-005,9],login` → `gpu003`."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,\[]*))?", nodes)
    if found is None:
        raise UserError(f"{WORD}: SLURM_STEP_NODELIST={nodes!r} names no machine; set MASTER_ADDR to the first one")
    return "".join(part or "" for part in found.groups())


def _of_torchrun(variables: Mapping[str, str]) -> Place:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not variables.get(name)]
    if missing:
        there = next(name for name in names if name in variables)
        raise UserError(
            f"{WORD}: {there} is set, and not {', '.join(missing)}; start with {TORCHRUN}, or set {', '.join(names)}"
        )
    return Place(
        index=_number(variables, "RANK"),
        size=_number(variables, "WORLD_SIZE"),
        local_index=_number(variables, "LOCAL_RANK"),
        address=variables["MASTER_ADDR"],
        port=_number(variables, "MASTER_PORT"),
        name=".".join(variables.get(f"TORCHELASTIC_{part}", "0") for part in ("RUN_ID", "RESTART_COUNT")),
        is_hosted=variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _of_slurm(variables: Mapping[str, str]) -> Place:
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID")
    if "SLURM_STEP_NUM_TASKS" not in variables:
        raise UserError(
            f"{WORD}: this is the script of a Slurm job, which is one process; write srun before the command"
        )
    missing = [name for name in names if name not in variables]
    if missing:
        raise UserError(f"{WORD}: Slurm has not set {' and '.join(missing)}; start the processes with srun")
    job = _number(variables, "SLURM_JOB_ID")
    name = ".".join(variables.get(f"SLURM_{part}", "0") for part in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return Place(
        index=_number(variables, "SLURM_PROCID"),
        size=_number(variables, "SLURM_STEP_NUM_TASKS"),
        local_index=_number(variables, "SLURM_LOCALID"),
        address=variables.get("MASTER_ADDR") or first_host(variables["SLURM_STEP_NODELIST"]),
        port=_number(variables, "MASTER_PORT") if variables.get("MASTER_PORT") else PORTS + job % PORTS,
        name=name,
    )


def _number(variables: Mapping[str, str], name: str) -> int:
    try:
        return int(variables[name])
    except ValueError:
        raise UserError(f"{WORD}: {name} must be a whole number, got {variables[name]!r}") from None
