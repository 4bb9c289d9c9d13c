"""A neural spline flow trained by maximum likelihood for a given time: the baseline of many dimensions."""

import copy
import math
from time import perf_counter

import torch
from torch import Tensor

LEARNING_RATE, BATCH_SIZE = 2e-3, 256
HALF_WAY = 0.5
"""Share of the time after which a flow that overfits may stop."""
OVERFIT = 0.05
"""Nats by which the validation rows must be worse than at their best for it to stop."""
N_CHECKS = 50
"""Looks at the validation rows."""
MOST_VALIDATION_ROWS = 5_000


def fit_spline_flow(train: Tensor, validation: Tensor, seconds: float, seed: int = 0) -> torch.nn.Module:
    """Fit an autoregressive neural spline flow of zuko: three transforms, networks of 64-64, eight bins.

    Adam with a learning rate that falls from 2e-3 to 0 over the time, on batches of 256; the weights of the lowest
    validation loss of 50 are kept. It stops early, in the second half of the time, if it overfits by 0.05 nats.

    Source: Durkan, Bekasov, Murray & Papamakarios (2019), "Neural spline flows".

    Args:
        train: rows [N, D], standardised.
        validation: rows [M, D].
        seconds: of wall time, with the threads that torch has now; > 0.
        seed: of the weights and the batches.

    Returns:
        The flow; `flow().log_prob(x)` is log q [B], nats.
    """
    import zuko

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow: torch.nn.Module = zuko.flows.NSF(train.shape[1], transforms=3, hidden_features=(64, 64), bins=8)
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    best, kept, checked = math.inf, copy.deepcopy(flow.state_dict()), 0
    start = perf_counter()
    while (share := (perf_counter() - start) / seconds) < 1.0:
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * share))
        rows = train[torch.randint(len(train), (min(BATCH_SIZE, len(train)),), generator=rng)]
        loss = -flow().log_prob(rows).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        if share * N_CHECKS >= checked:
            checked = math.floor(share * N_CHECKS) + 1
            with torch.no_grad():
                found = -float(flow().log_prob(validation[:MOST_VALIDATION_ROWS]).mean())
            if found < best:
                best, kept = found, copy.deepcopy(flow.state_dict())
            elif share > HALF_WAY and found > best + OVERFIT:
                break
    flow.load_state_dict(kept)
    return flow.requires_grad_(False)
