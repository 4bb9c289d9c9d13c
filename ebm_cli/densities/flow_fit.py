"""Maximum likelihood of a flow that starts at a fitted density, stopped by rows held out.

A flow that starts at many components has little to gain: each is wrong in a place of its own, and couplings, which move
all points alike, mend that slowly. One that starts at a single component bends it into curves and funnels at once, but
stretches threads between separate modes. So both are trained, and the rows held out choose.
"""

import copy
import math

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.fitting_rows import FittingRows
from ebm_cli.densities.memo import fitted_once
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.one_component import predictive_gaussian
from ebm_cli.densities.reference_candidates import Marginals, mixture_of
from ebm_cli.densities.reference_fit import FEWEST_ROWS, fit_reference
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.transformed import Transformed

N_COUPLINGS, WIDTH = 8, 32
N_STEPS, BATCH_SIZE, LEARNING_RATE = 2000, 512, 2e-3
CHECK_EVERY, PATIENCE = 50, 8
"""Steps between two looks at the rows held out, and looks without a gain after which training stops."""
MOST_HELD_OUT = 5_000


@fitted_once
def fit_flow(rows: Tensor, marginals: Marginals = "auto") -> Density:
    """Fit the best simple density to rows [N, *shape], and bend it; the simple one if bending gains nothing.

    The flow moves coordinates that the marginals of the simple density have transformed. It starts at one Gaussian or
    at the simple density's mixture, whichever ends better on a fifth of the rows, which the flow is not trained on; it
    stays if it gains more than a standard error there. The simple density has seen these rows, which favours it.

    Adam with a cosine decay, at most 2,000 steps of 512 rows for each start. Deterministic.
    Cost: the simple density's and 15 to 60 s of one thread.

    Raises:
        ValueError: rows of one coordinate.
    """
    if rows[0].numel() < 2:
        raise ValueError("a flow bends columns by each other and needs two or more, got one: take auto")
    fitted = fit_reference(rows, marginals=marginals)
    if len(rows) < FEWEST_ROWS:
        return fitted
    prepared = FittingRows.of(rows)
    x = (prepared.centre + prepared.scale * prepared.values).float()
    simple = copy.deepcopy(fitted).float().cpu()
    y = simple.marginals(x)[0] if isinstance(simple, Transformed) else x
    flow = _best(mixture_of(simple), y)
    if flow is None:
        return fitted
    return (Transformed(flow, simple.marginals) if isinstance(simple, Transformed) else flow).to(rows)


def _best(mixture: EllipticalMixture, y: Tensor) -> Bent | None:
    """The flow that predicts rows held out best; None if none gains enough by bending."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(3))
    n_held = len(y) // 5
    train, held = y[order[n_held:]], y[order[:n_held][:MOST_HELD_OUT]]
    log_simple = mixture.log_prob(held.view(-1, *mixture.shape))
    best, least = None, 0.0
    for start in _starts(mixture, y):
        trained = _trained(mixture, start, train, held)
        if trained is None:
            continue
        flow, log_q = trained
        gain = log_q - log_simple
        if float(gain.mean()) > max(least, float(gain.std()) / math.sqrt(len(held))):
            best, least = flow, float(gain.mean())
    return best


def _starts(mixture: EllipticalMixture, y: Tensor) -> list[StudentMixture]:
    """One Gaussian, and the mixture itself if it has more components."""
    gaussian = predictive_gaussian(y.double()).float()
    gaussian.shape = mixture.shape
    if len(mixture.weights) == 1:
        return [as_student(mixture)]
    return [gaussian, as_student(mixture)]


def as_student(mixture: EllipticalMixture) -> StudentMixture:
    """A mixture as one of Student's t distributions, of infinite degrees of freedom if it has normal ones."""
    if isinstance(mixture, StudentMixture):
        return copy.deepcopy(mixture)
    found = StudentMixture(mixture.shape)
    scatters = mixture.factors.double() @ mixture.factors.double().mT
    found.set_components(mixture.weights, mixture.means, scatters, math.inf * mixture.weights, mixture.means)
    return found


def _trained(
    mixture: EllipticalMixture, start: StudentMixture, train: Tensor, held: Tensor
) -> tuple[Bent, Tensor] | None:
    """The flow from `start` that is best on the rows held out, and its log-density there [M].

    None if none is better than the start, from which it would differ by rounding: perhaps by many standard errors.
    """
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = Bent(mixture, start, Moments.from_rows(train), N_COUPLINGS, WIDTH)
    weights = list(flow.couplings.parameters())
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    best: nn.ModuleList | None = None
    log_q, waited = start.log_prob(held), 0
    for step in range(1, N_STEPS + 1):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / N_STEPS))
        batch = train[torch.randint(len(train), (min(BATCH_SIZE, len(train)),), generator=rng)]
        optimizer.zero_grad()
        (-flow.log_prob(batch).mean()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()
        if step % CHECK_EVERY == 0:
            with torch.no_grad():
                found = flow.log_prob(held)
            waited += 1
            if float(found.mean()) > float(log_q.mean()):
                best, log_q, waited = copy.deepcopy(flow.couplings), found, 0
            if waited == PATIENCE:
                break
    if best is None:
        return None
    flow.couplings = best
    return flow.freeze(), log_q
