"""The loops that run a kernel."""

import pytest
import torch

from ebm_cli.samplers import Kernel, run, trace
from ebm_cli.samplers.mala import MALA
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import KERNELS, MIXTURE, name_of
from tests.support import normal, seeded


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_trace_keeps_every_thin_th_position_of_run(kernel: Kernel) -> None:
    done: list[int] = []
    x = MIXTURE.sample(5)
    draws, info = trace(kernel, MIXTURE.energy, x, 12, 3, seeded(), done.append)
    assert draws.shape == (4, 5, 2)
    assert done == [3, 6, 9, 12]
    for i, position in enumerate(draws):
        state, expected = run(kernel, MIXTURE.energy, x, 3 * (i + 1), seeded())
        assert torch.equal(position, state.x)
    assert torch.equal(info.accept, expected.accept)


@pytest.mark.parametrize(
    ("n_steps", "thin", "message"), [(4, 0, "^thin must be >= 1"), (5, 2, "^n_steps must be a mul")]
)
def test_trace_refuses_steps_that_thin_does_not_divide(n_steps: int, thin: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace(MALA(), harmonic, normal(2, 2), n_steps, thin, seeded())


def test_run_averages_info_over_the_steps() -> None:
    kernel, rng = MALA(0.8), seeded()
    state, accepts = kernel.init(harmonic, normal(4, 2), rng), []
    for _ in range(5):
        state, info = kernel.step(harmonic, state, rng)
        accepts.append(info.accept)
    end, mean = run(kernel, harmonic, normal(4, 2), 5, seeded())
    assert torch.equal(end.x, state.x)
    torch.testing.assert_close(mean.accept, torch.stack(accepts).mean(0))
    assert run(kernel, harmonic, normal(4, 2), 0, seeded())[1].accept.isnan().all()


def test_run_replaces_the_fields_of_a_schedule_at_each_step() -> None:
    x, rng = normal(4, 2), seeded()
    eps = (0.1, 0.4, 0.2)
    state = MALA().init(harmonic, x, rng)
    for e in eps:
        state, _ = MALA(e, 3.0).step(harmonic, state, rng)
    end, _ = run(MALA(), harmonic, x, 3, seeded(), lambda i: {"step_size": eps[i], "temperature": 3.0})
    assert torch.equal(end.x, state.x)
    with pytest.raises(TypeError, match="stepsize"):
        run(MALA(), harmonic, x, 1, seeded(), lambda i: {"stepsize": 1.0})
