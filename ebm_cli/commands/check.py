"""`ebm check`: the self-test as a table, for a GPU a report, too; exit code 1 if a row failed, else 0."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Group, JustifyMethod
from rich.table import Table
from rich.text import Text

from ebm_cli.errors import UserError, did_you_mean
from ebm_cli.reporting.commands import shell_command
from ebm_cli.reporting.console import make_console
from ebm_cli.reporting.narrow import Fitting
from ebm_cli.selftest import OF_A_DEVICE, SUBJECTS, Harness, Row, examine
from ebm_cli.selftest.device import is_available
from ebm_cli.selftest.report import machine, report, summary
from ebm_cli.system.device import device_of, fix_workspace
from ebm_cli.system.precision import use_full_precision

STYLES = {"ok": "green", "FAILED": "bold red", "skipped": "yellow"}
COLUMNS = {
    "outcome": (7, ""),
    "option": (14, "cyan"),
    "fact": (20, ""),
    "number": (8, ""),
    "bound": (8, ""),
    "unit": (11, "dim"),
}
"""Column → its least width and style. All subjects share the widths, which together fit into 80 characters."""
ALL = "all"
N_NAMED = 5
"""Failed rows that the closing line names."""


class ChecksFailed(Exception):
    """Some rows failed; the message names them."""

    exit_code = 1


def check(cfg: DictConfig) -> None:
    """Run the checks; print the table of each subject as soon as it is complete."""
    # Before anything computes on a GPU.
    fix_workspace()
    use_full_precision()
    subjects, devices = _subjects(cfg), _devices(cfg)
    console = make_console()
    torch.set_num_threads(1)
    began = time.monotonic()
    console.print(Text(of_machine := machine(devices), style="dim"))
    harness = Harness(lambda words: compose("train", list(words)), _config_folders(), cfg.seed, devices)
    found: list[tuple[str, Row]] = []
    for subject in subjects:
        with console.status(subject):
            rows = examine(harness, subject)
        console.print(_table(subject, rows))
        found += [(subject, row) for row in rows]
    seconds = time.monotonic() - began
    if _is_accelerator(cfg):
        told = report(shell_command("check", {"device": cfg.device}), of_machine, found, seconds)
        console.print(Text(f"\nTo report, paste these lines:\n\n```\n{told}\n```"), soft_wrap=True)
    console.print(Text(f"\n{summary([row for _, row in found], seconds)}"))
    failed = [f"{subject} {_name(row)}" for subject, row in found if row.outcome == "FAILED"]
    if failed:
        more = f"; and {len(failed) - N_NAMED} more" if len(failed) > N_NAMED else ""
        raise ChecksFailed(f"{len(failed)} of {len(found)} checks FAILED: {'; '.join(failed[:N_NAMED])}{more}")
    console.print(Text("All checks that this machine can run passed.", style="green"))


def _table(subject: str, rows: Sequence[Row]) -> Group:
    """The rows of a subject; below them the reason of each row without a number."""
    title = Text(f"\n{subject}", style="bold")
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column, (width, style) in COLUMNS.items():
        side: JustifyMethod = "right" if column in ("number", "bound") else "left"
        shown.add_column(column, justify=side, style=style, no_wrap=True, min_width=width)
    before = ""
    for row in rows:
        numbers = ["" if value is None else f"{value:.2g}" for value in (row.number, row.bound)]
        option = "" if row.name == before and row.outcome == "ok" else row.name
        shown.add_row(Text(row.outcome, style=STYLES[row.outcome]), option, row.what, *numbers, row.unit)
        before = row.name
    notes = [Text(f"{_name(row)}: {row.reason}", style="yellow") for row in rows if row.reason]
    return Group(title, Fitting(shown), *notes)


def _name(row: Row) -> str:
    """The option and the fact of a row."""
    return f"{row.name} {row.what}".strip()


def _subjects(cfg: DictConfig) -> list[str]:
    """The subjects that `only` names, in the order of `SUBJECTS`."""
    named = [cfg.only] if isinstance(cfg.only, str) else list(cfg.only)
    if named == [ALL]:
        return list(OF_A_DEVICE if _is_accelerator(cfg) else SUBJECTS)
    for name in named:
        if name not in SUBJECTS:
            near = did_you_mean(name, SUBJECTS)
            raise UserError(f"only={name}: must be all, or among {', '.join(SUBJECTS)}{near}")
    if not named:
        raise UserError(f"only=[]: must be all, or among {', '.join(SUBJECTS)}")
    return [subject for subject in SUBJECTS if subject in named]


def _is_accelerator(cfg: DictConfig) -> bool:
    """True if a device other than the CPU was asked for."""
    return cfg.device not in ("auto", "cpu")


def _devices(cfg: DictConfig) -> list[torch.device]:
    """The device that was asked for; for `auto` every device of this machine, the CPU first."""
    if cfg.device != "auto":
        return [device_of(cfg.device)]
    return [torch.device(kind) for kind in ("cpu", "cuda", "mps") if is_available(kind)]


def _config_folders() -> list[Path]:
    """The folders that Hydra composes from: ours, then the user's."""
    return [Path(source.path) for source in HydraConfig.get().runtime.config_sources if source.schema == "file"]
