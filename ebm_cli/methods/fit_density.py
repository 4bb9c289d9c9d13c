"""Maximum likelihood for a density with parameters: fits a flow to the data before it serves as noise."""

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.optim.step import fast_step
from ebm_cli.system.torch_internals import skip_dynamo_import


def fit_density(density: Density, data: Tensor, steps: int, rng: torch.Generator, lr: float = 1e-3) -> None:
    """Minimise −E_data log q by Adam with a cosine decay, on batches of 512 rows; a density without parameters stays.

    Args:
        density: q, changed in place.
        data: rows [N, *D] in standardised units.
        steps: optimizer steps, ≥ 0.
        rng: source of the batches.
        lr: initial learning rate.
    """
    parameters = list(density.parameters())
    if not parameters or steps == 0:
        return
    skip_dynamo_import()
    optimizer = torch.optim.Adam(parameters, lr=lr)
    update, schedule = fast_step(optimizer), torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(steps):
        rows = torch.randint(0, len(data), (min(512, len(data)),), generator=rng, device=data.device)
        loss = -density.log_prob(data[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        update()
        schedule.step()
    for parameter in parameters:
        parameter.grad = None
