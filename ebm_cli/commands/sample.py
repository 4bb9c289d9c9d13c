"""`ebm sample`: run chains on a trained energy, rebuilt from its checkpoint alone, or on one that the user writes.

The energy may be a composition of several checkpoints (`checkpoint=[A,B]`), or have no checkpoint (`energy=…`). The
distribution may be conditional on given rows: on the coordinates that a mask keeps (`mask`), or on noisy rows
(`noise_std`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from ebm_cli.errors import NotTrustworthy, UserError
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.coordinate_summary import summarise_coordinates
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value, Values, format_value
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, relative_path
from ebm_cli.reporting.coordinate_table import coordinate_table
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.completions import GIVEN, completions_figure
from ebm_cli.reporting.figures.overview import samples_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.sample_files import write_samples
from ebm_cli.runs.chains import draw, n_chains, validate_chains
from ebm_cli.runs.conditioning import ChainTarget
from ebm_cli.runs.model import Model
from ebm_cli.runs.sampled_model import model_to_sample
from ebm_cli.system.files import write_json
from ebm_cli.system.memory import peak_memory_mb
from ebm_cli.system.threads import set_threads

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint and numbers that do not fit together; writes nothing."""
    set_threads(cfg.threads)
    validate_chains(cfg, model_to_sample(cfg))


def sample(cfg: DictConfig) -> None:
    """Run the chains; write samples.npz, results.json and samples.png.

    Raises:
        NotTrustworthy: chains never moved, samples are not finite, or with `strict` chains have not mixed; after
            everything is written and printed.
    """
    path = Path(HydraConfig.get().runtime.output_dir)
    console = Console()
    model = model_to_sample(cfg)
    announce(model.remarks, console)
    began = time.monotonic()
    drawn = draw(cfg, model, partial(_bar, console), console.print)
    target, x = drawn.target, drawn.x
    flat = drawn.energy.flatten()
    file = write_samples(path, x.flatten(0, 1), flat, drawn.row)
    costs: dict[str, Value] = {
        "cost/seconds": time.monotonic() - began,
        "cost/peak_memory_mb": peak_memory_mb(flat.device),
    }
    measured = drawn.measured | Results(costs)
    names = model.column_names  # of a run without a file, its data set is built for them
    table = _coordinates(target, x, names)
    write_json(path / "results.json", {**measured.values, **({"sampler/coordinates": table} if table else {})})
    files = {"samples": relative_path(file.path), "results": relative_path(path / "results.json")}
    notes = [*explain(measured.values), *measured.notes, *absences(measured.absent)]
    failures = [*problems(measured.values), *file.failures]
    if file.is_whole:
        picture = path / "samples.png"
        with optional(f"picture: {relative_path(picture)}", notes):
            data = _held_out_rows(cfg, model, target, len(flat), notes)
            save(_picture(target, x, data, names), picture)
            files["picture"] = relative_path(picture)
    chains = f"{n_chains(cfg):,} chain{'s' * (n_chains(cfg) != 1)}"
    samples = f"{len(flat):,} sample{'s' * (len(flat) != 1)}"
    title = f"{samples} by {type(drawn.kernel).__name__} from {chains} ({_source(cfg, model)})"
    if table:
        console.print(coordinate_table(table, console.width))
    panel = closing_panel(title, measured.values, files, notes=notes, failures=failures)
    panel.log()
    panel.show(console)
    reasons = [*failures, *(_unmixed(measured.values) if cfg.strict else [])]
    if reasons:
        raise NotTrustworthy(" ".join(reasons))


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar of so many steps; yields what takes the steps done."""
    with Progress(total, console=console) as progress:
        yield lambda done: progress.update(done, {})


def _unmixed(values: Values) -> list[str]:
    """Sentences on diagnostics of the chains that are not good enough, for `strict=true`."""
    found = {key: verdict(key, values) for key in ("sampler/rhat", "sampler/ess_bulk", "sampler/ess_tail")}
    return [
        f"{key} is {format_value(values[key])}, {v.word} ({v.reference}), and strict=true."
        for key, v in found.items()
        if v.good is False
    ]


def _coordinates(target: ChainTarget, x: Tensor, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """A summary of each coordinate of samples [N, n_chains, *shape], data units.

    Empty for samples that are not finite, or whose chains are conditional on different rows.
    """
    if target.n_rows > 1 or not bool(x.isfinite().all()):
        return []
    return summarise_coordinates(x, names)


def _picture(target: ChainTarget, x: Tensor, data: Tensor | None, names: Sequence[str] | None) -> "Figure":
    """Samples [N, n_chains, *shape] in data units beside data; completions of images beside the given rows."""
    given = target.given
    if given is None or x.ndim != 5 or x.shape[2] not in (1, 3):
        return samples_figure(x.flatten(0, 1), data, names=names)
    # The last draws of all chains of a row before earlier ones.
    of_rows = [x[:, row :: target.n_rows].flip(0).flatten(0, 1) for row in range(min(GIVEN, target.n_rows))]
    return completions_figure(given.rows, given.keep, of_rows)


def _held_out_rows(cfg: DictConfig, model: Model, target: ChainTarget, n: int, notes: list[str]) -> Tensor | None:
    """Held-out rows to show beside samples of a whole run's model; None, and a note, if its data are not available."""
    # A composition has no data of its own.
    if target.given is not None or not isinstance(cfg.checkpoint, str):
        return None
    try:
        return model.dataset.held_out(min(n, 10_000))
    except UserError as reason:
        notes.append(f"the picture shows no data: {reason}")
        return None


def _source(cfg: DictConfig, model: Model) -> str:
    """Words for where the energy comes from."""
    if cfg.checkpoint is None:
        return "an energy without training"
    is_single = isinstance(cfg.checkpoint, str)
    return f"step {model.step:,} of the run" if is_single else f"{len(cfg.checkpoint)} runs together"
