"""`ebm compare`: tables of the results and costs of runs, from the files in their directories.

The numbers are read, not computed again; torch is imported for the pictures alone.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.text import Text

from ebm_cli import __version__
from ebm_cli.comparison import page, tables
from ebm_cli.comparison.conclusions import conclusion, overall, warnings
from ebm_cli.comparison.groups import Comparison, exclusion_reason
from ebm_cli.comparison.groups import compare as compare_records
from ebm_cli.comparison.settings import keys_that_group, settings_of
from ebm_cli.config.near_keys import near_keys, suggestion
from ebm_cli.config.patterns import explain_nothing, matches
from ebm_cli.errors import UserError
from ebm_cli.reporting.console import WIDTH_OF_A_PIPE, make_console, relative_path
from ebm_cli.reporting.narrow import Fitting
from ebm_cli.runs.record import Record, find
from ebm_cli.system.files import write_text


def validate(cfg: DictConfig) -> None:
    """Refuse runs that do not exist and keys that no run has; writes nothing."""
    _comparison(cfg)


def compare(cfg: DictConfig) -> None:
    """Print the tables and conclusions; write compare.csv, compare.tex and compare.html."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    comparison = _comparison(cfg)
    console = make_console()
    _print(comparison, console)
    files = {"compare.csv": tables.to_csv(comparison), "compare.tex": tables.to_tex(comparison)}
    for name, text in files.items():
        write_text(folder / name, text)
    panels = {}
    if cfg.pictures:
        from ebm_cli.comparison.pictures import panels_of

        panels = {section.name: panels_of(section, list(cfg.trust)) for section in comparison.sections}
    made = f"Made by ebm {__version__} on {datetime.now().astimezone():%Y-%m-%d %H:%M}."
    files["compare.html"] = page.render(comparison, panels, made)
    write_text(folder / "compare.html", files["compare.html"])
    for name in reversed(files):
        console.print(
            Text.assemble((f"{name:<13}", "cyan"), relative_path(folder / name), overflow="fold"), soft_wrap=True
        )


def _comparison(cfg: DictConfig) -> Comparison:
    """The comparison that the config describes.

    Raises:
        UserError: no finished run, or a key that no run has.
    """
    by, metrics = _as_list(cfg.by), _as_list(cfg.metrics)
    records = select_runs(_as_list(cfg.runs))
    counted = [record for record in records if exclusion_reason(record) is None]
    if not counted:
        reasons = "; ".join(f"{record.path}: {exclusion_reason(record)}" for record in records[:3])
        more = f"; and {len(records) - 3} more" if len(records) > 3 else ""
        raise UserError(f"runs={_as_typed(cfg.runs)}: no finished run to compare ({reasons}{more})")
    if by == ["auto"]:
        by = keys_that_group(counted)
    _require_keys(by, counted)
    if metrics == ["auto"]:
        return compare_records(records, by)
    known = {key: None for record in counted for key in record.results}
    for key in metrics:
        if not any(isinstance(record.results.get(key), int | float) for record in counted):
            dotted = {name.replace("/", "."): name for name in known}
            near = [dotted[name] for name in near_keys(key.replace("/", "."), dotted)]
            raise UserError(f"metrics: no run has a number {key}{suggestion(near)}")
    return compare_records(records, by, metrics)


def select_runs(words: Sequence[str]) -> list[Record]:
    """The runs at and below the paths that words name or match, oldest first and each once.

    Args:
        words: paths and globs.

    Raises:
        UserError: a word that selects no run.
    """
    found: dict[Path, Record] = {}
    for word in words:
        paths = matches(word)
        if not paths:
            raise UserError(f"runs={word}: {explain_nothing(word)}; ebm runs lists all runs")
        records = [record for path in paths if path.is_dir() for record in find(path)]
        if not records:
            raise UserError(f"runs={word}: no run there (no directory at or below it has a status.json)")
        found |= {record.path.resolve(): record for record in records}
    return sorted(found.values(), key=lambda record: (record.started, record.path))


def _require_keys(by: Sequence[str], records: Iterable[Record]) -> None:
    """Refuse a grouping key that no run has."""
    known = {key: None for record in records for key in settings_of(record)}
    for key in by:
        if key in known:
            continue
        inner = [name for name in known if name.startswith(f"{key}.")]
        if inner:
            raise UserError(f"by: {key} is not a single value; name one of its keys, such as {inner[0]}")
        raise UserError(f"by: no run has a key {key}{suggestion(near_keys(key, known))}")


def _print(comparison: Comparison, console: Console) -> None:
    """Print tables, notices, excluded runs and conclusions."""
    is_a_pipe = console.width >= WIDTH_OF_A_PIPE
    for table, left_out in tables.console_tables(comparison, console.width):
        console.print(Fitting(table))
        if left_out:
            console.print(Text(f"not shown: {', '.join(column.label for column in left_out)}", style="dim"))
    for warning in warnings(comparison):
        console.print(Text(warning, style="yellow"), soft_wrap=is_a_pipe)
    if comparison.excluded:
        console.print(Text(f"\nexcluded: {len(comparison.excluded)}", style="yellow"))
        for record, reason in comparison.excluded:
            line = Text.assemble("  ", (f"{record.outcome:<13}", "red"), f" {record.path}  {reason}")
            console.print(line, soft_wrap=True)
    console.print()
    for sentence in filter(None, (*map(conclusion, comparison.sections), overall(comparison))):
        console.print(Text(sentence, style="bold"), soft_wrap=is_a_pipe)
    console.print()


def _as_list(value: str | ListConfig) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _as_typed(value: str | ListConfig) -> str:
    """A value as it is typed: `A`, `[A,B]`."""
    return value if isinstance(value, str) else f"[{','.join(value)}]"
