"""Checks of the switches of precision on a device, and of derivatives that are compiled for it."""

import math
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.derivatives import Compiled
from ebm_cli.energies import MLP
from ebm_cli.methods import SM
from ebm_cli.selftest.harness import Fact, Harness, Skip
from ebm_cli.selftest.tolerances import relative_error
from ebm_cli.system.precision import ProductPrecision

SIZE, CHANNELS, SIDE = 512, 64, 16
EXACT, ROUNDED, EFFECT = 2e-5, 2e-2, 0.2
"""Bounds of the relative error in float32 and in TF32, and of one over the other where rounding has an effect."""
AMPERE = (8, 0)
"""The first capability of CUDA with TF32."""
N_ROWS, DIM, COMPILED_BOUND = 64, 4, 1e-4


def precision_facts(harness: Harness, device: torch.device) -> Iterator[Fact | Skip]:
    """Errors of float32 products against float64 at two precisions of a training step, and in a caller's autocast."""
    for what, error in product_errors(harness.rng("training/precision"), device).items():
        found = {}
        for precision in ("highest", "high"):
            with ProductPrecision(precision, device):
                found[precision] = error()
        yield Fact(f"{what}, precision=highest", found["highest"], EXACT, "relative")
        yield Fact(f"{what}, precision=high", found["high"], ROUNDED, "relative")
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE:
            yield Fact(f"{what}, highest over high", found["highest"] / found["high"], EFFECT, "ratio")
        else:
            yield Skip(f"{what}, highest over high", f"{device.type} here has no TF32")
        with torch.autocast(device.type, torch.bfloat16):
            rounded = error()
            with ProductPrecision("highest", device):
                inside = error()
        yield Fact(f"{what}, a caller's autocast", inside, EXACT, "relative")
        yield Fact(f"{what}, highest over autocast", found["highest"] / rounded, EFFECT, "ratio")


def product_errors(rng: torch.Generator, device: torch.device) -> dict[str, Callable[[], float]]:
    """Kind of product → a function that computes one in float32 and returns its error against float64 on the CPU."""

    def against(function: Callable[[Tensor, Tensor], Tensor], *shapes: tuple[int, ...]) -> Callable[[], float]:
        a, b = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)
        exact, there = function(a, b), (a.to(device, torch.float32), b.to(device, torch.float32))
        return lambda: relative_error(function(*there), exact)

    return {
        "matrices": against(torch.matmul, (SIZE, SIZE), (SIZE, SIZE)),
        "convolutions": against(F.conv2d, (8, CHANNELS, SIDE, SIDE), (CHANNELS, CHANNELS, 3, 3)),
    }


def compiled_facts(harness: Harness, device: torch.device, backend: str = "inductor") -> Iterator[Fact | Skip]:
    """Loss and gradient of exact score matching, compiled for this device, against those that are not.

    Args:
        harness: of the random numbers.
        device: a kind that the compiler knows.
        backend: of torch.compile.

    Cost: 10 to 30 s the first time on a machine.
    """
    if device.type == "mps" or (device.type == "cuda" and find_spec("triton") is None):
        yield Skip("", "derivatives are compiled for CUDA with Triton, and for the CPU")
        return
    with torch.random.fork_rng([]):
        torch.manual_seed(harness.seed)
        energy = MLP((DIM,)).to(device)
    x = torch.randn(N_ROWS, DIM, generator=harness.rng("training/compiled")).to(device)
    said: list[str] = []

    def loss_and_gradient() -> list[Tensor]:
        loss = SM().loss(energy, x, harness.rng("training/unused")).loss
        return [
            loss,
            *(p for p in torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True) if p is not None),
        ]

    eager = loss_and_gradient()
    energy.compiled = Compiled(N_ROWS, x.dtype, device, said.append, backend)
    began = time.perf_counter()
    compiled = loss_and_gradient()
    seconds = time.perf_counter() - began
    if said:
        raise RuntimeError(said[0])
    error = max(relative_error(a, b) for a, b in zip(compiled, eager, strict=True))
    yield Fact("step of sm", error, COMPILED_BOUND, "relative")
    yield Fact("time to compile", seconds, math.inf, "s")
