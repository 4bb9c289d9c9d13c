"""Whether an experiment came out: its claims, judged on its runs, printed, written and turned into an exit code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ebm_cli.claims import Claim, Verdict
from ebm_cli.claims.table import claims_table
from ebm_cli.config.build import build
from ebm_cli.config.trust import Trust
from ebm_cli.reporting.console import make_console
from ebm_cli.runs.files import write_json
from ebm_cli.runs.record import Record, read

FILE = "claims.json"


class ClaimsFailed(Exception):
    """The runs ended well, and something that the experiment claims is not so."""

    exit_code = 1


def build_claims(nodes: Mapping[str, Any] | None, trust: Trust) -> dict[str, Claim]:
    """The claims of a config by their names; a null takes away one that another experiment made.

    Raises:
        UserError: a node does not describe a claim.
    """
    found = {str(name): node for name, node in (nodes or {}).items() if node is not None}
    return {name: build(node, f"claims.{name}", Claim, trust=trust) for name, node in found.items()}


def judge(claims: Mapping[str, Claim], directory: Path, runs: Sequence[Path]) -> None:
    """Judge the runs; print the verdicts and write them to `directory`/claims.json.

    A run that did not finish makes the experiment fail by its name, and no claim is judged by it.

    Args:
        claims: by name; none is no judgement.
        directory: the run's, or the sweep's.
        runs: directories of the runs.

    Raises:
        ClaimsFailed: a claim failed, or none could be judged.
    """
    if not claims or not runs:
        return
    verdicts = verdicts_on(claims, [read(run) for run in runs])
    rows = [{"claim": name, "passed": verdict.passed, "what": verdict.what} for name, verdict in verdicts]
    write_json(directory / FILE, rows)
    make_console().print(claims_table(verdicts))
    failed = list(dict.fromkeys(name for name, verdict in verdicts if verdict.passed is False))
    if failed:
        raise ClaimsFailed(f"claims that failed: {', '.join(failed)}; see {directory / FILE}")
    if not any(verdict.passed for _, verdict in verdicts):
        raise ClaimsFailed(f"claims={list(claims)}: none is about the runs that were made; see {directory / FILE}")


def verdicts_on(claims: Mapping[str, Claim], runs: Sequence[Record]) -> list[tuple[str, Verdict]]:
    """(claim's name, verdict) for every claim, behind the runs that did not finish."""
    broken = [run for run in runs if run.state != "finished"]
    finished = [run for run in runs if run.state == "finished"]
    verdicts = [("every run finishes", Verdict(False, _named(run))) for run in broken]
    return verdicts + [(name, verdict) for name, claim in claims.items() for verdict in claim.judge(finished)]


def _named(run: Record) -> str:
    typed = run.path / ".hydra" / "overrides.yaml"
    about = " ".join(yaml.safe_load(typed.read_text(encoding="utf-8"))) if typed.is_file() else "no overrides"
    why = f": {run.reason or run.problem}" if run.reason or run.problem else ""
    return f"{run.path.name} ({about}) {run.state}{why}"
