"""The evaluation of a trained model, at the end of a run and by `ebm evaluate`: one protocol for both.

`metrics` names groups of results, each of which can be left out; a user may add others (`metric_group`).

    density   log Z, KL, NLL, the error of log p, mode masses, the method's own objective on held-out rows
    score     Fisher divergence, kernel Stein discrepancy
    samples   distances between the model's samples and held-out rows, each with its value between data and data
    chains    R̂, ESS and acceptance rate of the chains that drew them; the temperature of the method's own short chains
    features  classes and features of the samples in a classifier of the data, and whether they copy training rows
    ood       detection of foreign rows by their energy

The last two are for real data: where the density of the data is known, the divergences are more informative.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.energies import Energy
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.groups import chains, density, features, ood, samples, score
from ebm_cli.evaluation.metric_group import measure
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.results import Results
from ebm_cli.methods import Method
from ebm_cli.system.ranks import ONE, Ranks

GROUPS: tuple[tuple[str, Callable[[Context], Results]], ...] = (
    ("density", density.results),
    ("score", score.results),
    ("density", density.annealing_results),
    ("samples", samples.results),
    ("chains", chains.results),
    ("features", features.results),
    ("ood", ood.results),
)
"""Name of a metric group → its function, in the order of the keys in results.json."""
STAGES: dict[Callable[[Context], Results], str] = {
    density.results: "log Z and divergences",
    density.annealing_results: "log Z by annealing",
    samples.results: "samples and their distances",
    ood.results: "foreign rows",
}
"""Names of stages that are not those of their metric groups."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a model, and its samples [N, *shape] in data units; None where the protocol asks for none."""

    results: Results
    samples: Tensor | None


def evaluate(
    energy: Energy,
    method: Method,
    dataset: Dataset,
    protocol: Protocol,
    announce: Callable[[str, int, int], None] = lambda stage, number, total: None,
    second: Method | None = None,
    ranks: Ranks = ONE,
) -> Evaluation:
    """Measure every result that the protocol asks for.

    Args:
        energy: with the weights that are evaluated, in eval mode.
        method: for what it trained besides the energy.
        dataset: the data.
        protocol: which metric groups, and with which sizes.
        second: the objective of a second phase, for the log Z that it trained.
        announce: is told which stage begins: its name, its number from 1, and how many there are.
        ranks: the processes that share annealing and chains; this is the first, and the others call `serve`.

    Raises:
        UserError: results of an added metric group that cannot be stored.
    """
    context, found = Context(energy, method, dataset, protocol, second, ranks), Results()
    asked = [(STAGES.get(results, name), results) for name, results in GROUPS if context.is_asked(name)]
    n_stages = len(asked) + len(protocol.added)
    for number, (stage, results) in enumerate(asked, start=1):
        announce(stage, number, n_stages)
        found |= results(context)
    for number, group in enumerate(protocol.added, start=len(asked) + 1):
        announce(type(group).__name__, number, n_stages)
        found |= measure(group, context, found.values)
    if not found.values and not found.absent and protocol.names and not context.is_real:
        reason = "features and ood are for data whose density is unknown; metrics=[density] computes divergences"
        found |= Results(absent={"metrics": reason})
    ranks.announce(None)
    return Evaluation(found.finite(), context.samples)


def serve(energy: Energy, method: Method, dataset: Dataset, protocol: Protocol, ranks: Ranks) -> None:
    """Do this process's part of an evaluation that the first one makes by `evaluate`, with the same arguments."""
    Context(energy, method, dataset, protocol, ranks=ranks).serve()
