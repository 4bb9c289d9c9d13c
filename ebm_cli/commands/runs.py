"""`ebm runs`: every run under a folder, with its state, main result and age.

A run is a directory with a `status.json`. A run in the state "running" whose process has ended is shown as lost.
"""

from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.config.patterns import explain_nothing, matches
from ebm_cli.errors import NotTrustworthy, UserError
from ebm_cli.evaluation.overall import UNJUDGED, overall, untrusted
from ebm_cli.evaluation.result_registry import HEADLINES
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import number
from ebm_cli.reporting.closing_panel import OVERALL_STYLES
from ebm_cli.reporting.console import make_console
from ebm_cli.reporting.narrow import pack, table_width, text_of
from ebm_cli.runs.labels import class_path, told_apart
from ebm_cli.runs.overrides import settings_by_run
from ebm_cli.runs.record import Record, find

LONGEST_REASON = 160
"""Characters of the reason of a failure."""
STYLES = {"running": "cyan", "finished": "green", "interrupted": "yellow", "diverged": "red", "failed": "red"}


def runs(cfg: DictConfig) -> None:
    """Print the table of all runs under `cfg.root`, a folder, a pattern or several, newest last."""
    roots = [path for word in ([cfg.root] if isinstance(cfg.root, str) else cfg.root) for path in _folders(str(word))]
    found = {record.path.resolve(): record for root in roots for record in find(root)}
    records = sorted(found.values(), key=lambda record: (record.started, record.path))
    if not records:
        print(f"no runs under {', '.join(map(str, roots))}")
        return
    console = make_console()
    _print(console, _table(records, now=datetime.now(UTC).timestamp()))
    for record in records:
        if reason := _reason(record):
            console.print(Text.assemble(str(record.path), (f"  {reason}", "dim")), soft_wrap=True)


def _folders(word: str) -> list[Path]:
    """The folders that a word names or matches; files beside them are passed over.

    Raises:
        UserError: there are none.
    """
    found = matches(word)
    folders = [path for path in found if path.is_dir()]
    if not folders:
        raise UserError(f"root={word}: {'not a directory' if found else explain_nothing(word)}")
    return folders


def _print(console: Console, table: Table) -> None:
    """Print the table; where it does not fit, the runs one after the other, each path in a line that nothing breaks."""
    if table_width(console, table) <= console.width:
        console.print(table)
        return
    *columns, paths = table.columns
    table.columns = columns
    for row, path in zip(zip(*(column.cells for column in columns), strict=True), paths.cells, strict=True):
        for line in pack([text_of(cell) for cell in row], console.width):
            console.print(line)
        console.print(Text.assemble("  ", text_of(path)), soft_wrap=True)


def _table(records: list[Record], now: float) -> Table:
    """The table of runs; `now` in seconds since 1970."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    sides = {"state": "left", "method": "left", "dataset": "left", "seed": "right", "settings": "left", "step": "right"}
    differing = settings_by_run(records)
    for name, side in sides.items():
        shown.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    shown.add_column("overall", no_wrap=True)
    shown.add_column("result", no_wrap=True)
    shown.add_column("age", justify="right", no_wrap=True)
    shown.add_column("path", overflow="fold")
    chosen = [_labels(records, group) for group in ("method", "dataset")]
    for i, record in enumerate(records):
        state = Text(record.outcome, style=STYLES.get(record.state, "magenta"))
        if untrusted(record.results, bool(record.config.get("strict"))):
            state = Text(f"{record.state}, exit code {NotTrustworthy.exit_code}", style="red")
        path = Text(str(record.path) + (f"  ({record.problem})" if record.problem else ""))
        step = "/".join("?" if n is None else str(n) for n in (record.step, record.steps))
        settings = Text(" ".join(differing[record.path]))
        shown.add_row(
            state,
            *(names[i] for names in chosen),
            _seed(record),
            settings,
            step,
            _overall(record),
            _main_result(record),
            format_age(now - record.started),
            path,
        )
    return shown


def _labels(records: list[Record], group: str) -> list[str]:
    """The choice of each run in a group; two classes of one name with as much of their paths as tells them apart."""
    found = (class_path(record.hydra_choices.get(group, "?"), record.config.get(group)) for record in records)
    return told_apart(list(found))


def _seed(record: Record) -> str:
    seed = record.get("seed")
    return "" if seed is None else str(seed)


def _reason(record: Record) -> str:
    """Why a run ended early, in one line; empty for one that did not."""
    reason = "" if record.state in ("finished", "running") else " ".join(record.reason.split())
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"


def _overall(record: Record) -> Text:
    """Overall word of a run with results; a run that lacks it, as older ones do, is assessed by its other results."""
    word = record.results.get("eval/overall")
    if word is None:
        word = overall(Results(dict(record.results))).word
    if not word and record.results and record.state == "finished":
        return Text(UNJUDGED, style=OVERALL_STYLES[""])
    return Text(str(word), style=OVERALL_STYLES.get(str(word), ""))


def format_age(seconds: float) -> str:
    """A duration in its largest unit, rounded down: 42s, 5m, 3h, 12d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(int(seconds), 0)}s"


def _main_result(record: Record) -> str:
    """The monitored result of a run with its key, else the first of `HEADLINES`; empty where it has none of them."""
    for key in (str(record.config.get("monitor")), *HEADLINES):
        value = number(record.results, key)
        if value is not None:
            return f"{key} {value:.4g}"
    return ""
