"""`ebm sample`: run chains on a trained energy, rebuilt from its checkpoint alone, or on one that the user writes.

The energy may be a composition of several checkpoints (`checkpoint=[A,B]`), or have no checkpoint (`energy=…`). The
distribution may be conditional on given rows: on the coordinates that a mask keeps (`mask`), or on noisy rows
(`noise_std`).
"""

import os
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

from ebm_cli.errors import NoRoom, NotTrustworthy, UserError, full_disk
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.chain_verdicts import UNMET
from ebm_cli.evaluation.coordinate_summary import summarise_coordinates
from ebm_cli.evaluation.mcmc_diagnostics import MIN_DRAWS, too_few_draws
from ebm_cli.evaluation.result_list import MIXING, SIZES
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value, format_value
from ebm_cli.quoting import typed
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, make_console, relative_path
from ebm_cli.reporting.coordinate_table import coordinate_table
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.completions import GIVEN, completions_figure
from ebm_cli.reporting.figures.overview import samples_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.progress import Progress
from ebm_cli.runs.chain_settings import longer_chains, n_chains, validate_chains
from ebm_cli.runs.chains import Drawn, draw
from ebm_cli.runs.conditioning import ChainTarget
from ebm_cli.runs.lock import lock_directory
from ebm_cli.runs.model import Model
from ebm_cli.runs.record import jobs_of
from ebm_cli.runs.sample_files import SampleFile, write_samples
from ebm_cli.runs.sampled_model import model_to_sample
from ebm_cli.runs.shards import (
    Shards,
    kind_of,
    require_memory,
    require_no_shards,
    require_room,
    require_writer,
    streams,
)
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.runs.stream import identity, stream
from ebm_cli.system.files import write_json
from ebm_cli.system.memory import peak_memory_mb
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.threads import set_threads

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint and numbers that do not fit together; writes nothing."""
    use_full_precision()
    set_threads(cfg.threads)
    require_writer(cfg.shards)
    model = model_to_sample(cfg)
    validate_chains(cfg, model)
    if not streams(cfg):
        require_memory(cfg.n_samples, model.standardizer.like)


def reserve(cfg: DictConfig, path: Path, *, lock: bool) -> None:
    """Refuse more samples than the disk of the run's directory has room for."""
    if streams(cfg):
        require_room(path, cfg.n_samples, model_to_sample(cfg).standardizer.like)


def sample(cfg: DictConfig) -> None:
    """Run the chains; write samples.npz (many samples: files of a part each), results.json and samples.png.

    Raises:
        NotTrustworthy: chains never moved, samples are not finite, or with `strict` chains have not mixed; after
            everything is written and printed.
    """
    path = Path(HydraConfig.get().runtime.output_dir)
    console = Console()
    model = model_to_sample(cfg)
    announce(model.remarks, console)
    began = time.monotonic()
    file: SampleFile | Shards
    if streams(cfg):
        drawn, file, n = _streamed(cfg, model, path, console)
    else:
        require_no_shards(path)
        drawn = draw(cfg, model, partial(_bar, console), console.print)
        file = write_samples(path, drawn.x.flatten(0, 1), drawn.energy.flatten(), drawn.row)
        n = drawn.energy.numel()
    target, x = drawn.target, drawn.x
    costs: dict[str, Value] = {
        "cost/seconds": time.monotonic() - began,
        "cost/peak_memory_mb": peak_memory_mb(x.device),
    }
    measured = drawn.measured | Results(costs)
    names = model.column_names  # of a run without a file, its data set is built for them
    table = _coordinates(target, x, names)
    write_json(path / "results.json", {**measured.values, **({"sampler/coordinates": table} if table else {})})
    files = {"samples": relative_path(file.shown), "results": relative_path(path / "results.json")}
    notes = [*explain(measured.values), *measured.notes, *absences(measured.absent)]
    failures = [*problems(measured.values), *file.failures]
    if file.is_whole:
        picture = path / "samples.png"
        with optional(f"picture: {relative_path(picture)}", notes):
            data = _held_out_rows(cfg, model, target, drawn.energy.numel(), notes)
            save(_picture(target, x, data, names), picture)
            files["picture"] = relative_path(picture)
    chains = f"{n_chains(cfg):,} chain{'s' * (n_chains(cfg) != 1)}"
    samples = f"{n:,} sample{'s' * (n != 1)}"
    title = f"{samples} by {type(drawn.kernel).__name__} from {chains} ({_source(cfg, model)})"
    if table:
        console.print(coordinate_table(table, console.width))
    panel = closing_panel(title, measured.values, files, notes=notes, failures=failures)
    panel.log()
    panel.show(console)
    reasons = [*failures, *(_unmixed(cfg, measured) if cfg.strict else [])]
    if reasons:
        raise NotTrustworthy(" ".join(reasons))


def finalize(cfg: DictConfig, sweep_dir: Path) -> None:
    """List the samples of a sweep."""
    from ebm_cli.comparison.sweep_ends import print_samples

    print_samples(jobs_of(sweep_dir), make_console())


def _streamed(cfg: DictConfig, model: Model, path: Path, console: Console) -> tuple[Drawn, Shards, int]:
    """Write the samples while the chains run, from where an earlier command in this directory ended; with their number.

    Raises:
        Interrupted: by a signal; the message says how to continue.
        NoRoom: the disk is full; likewise.
    """
    names, where = model.column_names, relative_path(path)
    again = f"the same command with {typed('hydra.run.dir', where)} continues"
    lock = lock_directory(path)
    try:
        shards = Shards(path, kind_of(cfg), identity(cfg, model), cfg.n_samples, _facts(cfg, model, names), names)
        if shards.n_written:
            announce([f"{where}: continues after {shards.n_written:,} of {cfg.n_samples:,} samples"], console)
        with Signals():
            drawn = stream(cfg, model, shards, partial(_bar, console), console.print)
    except Interrupted as signal:
        done = f"; {shards.n_written:,} of {cfg.n_samples:,} samples are written, {again}"
        raise Interrupted(signal.number, done) from None
    except Exception as error:
        full = full_disk(error)
        if full is None:
            raise
        raise NoRoom(f"{where}: no room to write in it ({full.strerror}); free some space, and {again}") from error
    finally:
        os.close(lock)
    return drawn, shards, shards.n_written


def _facts(cfg: DictConfig, model: Model, names: Sequence[str] | None) -> dict[str, Any]:
    """Facts on the samples of a stream, for their manifest."""
    like = model.standardizer.like
    return {
        "arrays": {"x": "samples, in the units of the data", "energy": "of each sample, nats"},
        "shape": list(like.shape),
        "dtype": str(like.dtype).removeprefix("torch."),
        "columns": None if names is None else list(names),
        "order": f"sample i of all is of chain i mod {n_chains(cfg)}: draw i // {n_chains(cfg)} of it",
        "n_chains": n_chains(cfg),
        "burn_in": cfg.burn_in,
        "thin": cfg.thin,
        "seed": cfg.seed,
        "checkpoint": str(model.path) if cfg.checkpoint is not None else None,
    }


@contextmanager
def _bar(console: Console, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A progress bar of so many steps, some done before; yields what takes the steps done."""
    with Progress(total, done, console=console) as progress:
        yield lambda done: progress.update(done, {})


def _unmixed(cfg: DictConfig, measured: Results) -> list[str]:
    """Sentences on diagnostics of the chains that are not good enough, or not there, for `strict=true`."""
    values = measured.values
    found = {key: verdict(key, values) for key in MIXING}
    poor = [
        f"{key} is {format_value(values[key])}, {v.word} ({v.reference}), and strict=true."
        for key, v in found.items()
        # Of chains that have not met, R-hat is the reason: effective sizes mean nothing, and a virial is off with it.
        if v.good is False and (key == MIXING[0] or v.word != UNMET) and (key not in SIZES or found[MIXING[0]].good)
    ]
    unknown = measured.absent.get(MIXING[0])
    if unknown is None:
        return poor
    is_few = unknown == too_few_draws(cfg.n_samples // n_chains(cfg))
    cure = f" {longer_chains(cfg, MIN_DRAWS)} gives each chain enough." if is_few else ""
    return [*poor, f"{MIXING[0]} is not known ({unknown}), and strict=true.{cure}"]


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
