"""The judgement of an experiment: its claims, judged on its runs, printed, written and turned into an exit code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ebm_cli.claims import Claim, Verdict
from ebm_cli.claims.table import claims_table
from ebm_cli.config.build import build
from ebm_cli.config.trust import Trust
from ebm_cli.reporting.console import make_console
from ebm_cli.runs.record import Record, read
from ebm_cli.system.files import write_json

FILE_NAME = "claims.json"


class ClaimsFailed(Exception):
    """The runs finished, but a claim of the experiment failed."""

    exit_code = 1


def build_claims(nodes: Mapping[str, Any] | None, trust: Trust) -> dict[str, Claim]:
    """Build the claims of a config by their names; a null removes the claim of another experiment.

    Raises:
        UserError: a node does not describe a claim.
    """
    found = {str(name): node for name, node in (nodes or {}).items() if node is not None}
    return {name: build(node, f"claims.{name}", Claim, trust=trust) for name, node in found.items()}


def judge_runs(claims: Mapping[str, Claim], directory: Path, runs: Sequence[Path]) -> None:
    """Judge the claims on the runs; print the verdicts and write them to `directory`/claims.json.

    A run that did not finish fails the experiment by its name, and no claim is judged on it.

    Args:
        claims: by name; without any, nothing is judged.
        directory: the run's, or the sweep's.
        runs: directories of the runs.

    Raises:
        ClaimsFailed: a claim failed, or none could be judged.
    """
    if not claims or not runs:
        return
    conclude(directory, collect_verdicts(claims, [read(run) for run in runs]))


def conclude(directory: Path, verdicts: Sequence[tuple[str, Verdict]]) -> None:
    """Print the verdicts and write them to `directory`/claims.json.

    Raises:
        ClaimsFailed: a claim failed, or none could be judged.
    """
    rows = [{"claim": name, "passed": verdict.passed, "what": verdict.what} for name, verdict in verdicts]
    write_json(directory / FILE_NAME, rows)
    make_console().print(claims_table(verdicts))
    failed = list(dict.fromkeys(name for name, verdict in verdicts if verdict.passed is False))
    if failed:
        raise ClaimsFailed(f"claims that failed: {', '.join(failed)}; see {directory / FILE_NAME}")
    if not any(verdict.passed for _, verdict in verdicts):
        names = list(dict.fromkeys(name for name, _ in verdicts))
        raise ClaimsFailed(f"claims={names}: none is about the runs that were made; see {directory / FILE_NAME}")


def collect_verdicts(claims: Mapping[str, Claim], runs: Sequence[Record]) -> list[tuple[str, Verdict]]:
    """(claim's name, verdict) of every claim; first a failed verdict for each run that did not finish."""
    unfinished = [run for run in runs if run.state != "finished"]
    finished = [run for run in runs if run.state == "finished"]
    verdicts = [("every run finishes", Verdict(False, _describe_run(run))) for run in unfinished]
    return verdicts + [(name, verdict) for name, claim in claims.items() for verdict in claim.judge(finished)]


def _describe_run(run: Record) -> str:
    """Name, overrides, state and reason of a run that did not finish."""
    file = run.path / ".hydra" / "overrides.yaml"
    overrides = " ".join(yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else "no overrides"
    reason = f": {run.reason or run.problem}" if run.reason or run.problem else ""
    return f"{run.path.name} ({overrides}) {run.state}{reason}"
