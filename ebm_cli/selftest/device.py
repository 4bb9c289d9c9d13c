"""Every device of this machine, in every precision that it has, does what the CPU does in float64; and the disk keeps
what is written to it.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ebm_cli.errors import UserError, first_line
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.samplers import Kernel
from ebm_cli.selftest.derivatives import any_energy, error_on
from ebm_cli.selftest.harness import Bench, Check, Fact, Skip
from ebm_cli.selftest.samplers import gaussian_facts
from ebm_cli.selftest.tolerances import relative_error
from ebm_cli.system.device import device_of

SIZE = 256
BOUNDS = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Relative error that a precision is allowed against float64 on the CPU."""
REFERENCE = ("cpu", torch.float64)
"""What the other subjects check everything on."""
N_FLIPS = 8


def checks(bench: Bench) -> Iterator[Check]:
    """A check for each device and precision, one for each device that is not there, one for the disk."""
    for device in bench.devices:
        for dtype in BOUNDS:
            yield Check(f"{device.type} {str(dtype).removeprefix('torch.')}", partial(_facts, bench, device, dtype))
    for kind in ("cuda", "mps"):
        if not available(kind):
            yield Check(kind, partial(_absent, kind))
    yield Check("disk", partial(_disk, bench))


def available(kind: str) -> bool:
    """Whether this machine has such a device."""
    try:
        device_of(kind)
    except UserError:
        return False
    return True


def _absent(kind: str) -> Iterator[Skip]:
    yield Skip("", f"no {kind} device on this machine, or none that this torch can use")


def _facts(bench: Bench, device: torch.device, dtype: torch.dtype) -> Iterator[Fact | Skip]:
    try:
        torch.zeros(1, dtype=dtype, device=device)
    except TypeError as error:  # what torch raises on MPS, which has no float64
        yield Skip("", first_line(error))
        return
    rng, bound = bench.rng(f"device/{device}/{dtype}"), BOUNDS[dtype]
    a, b, c = torch.randn(3, SIZE, SIZE, generator=rng, dtype=torch.float64)
    there = [matrix.to(device, dtype) for matrix in (a, b, c)]
    yield Fact("matrix products", relative_error(there[0] @ there[1] @ there[2], a @ (b @ c)), bound, "relative")
    yield _generator_fact(bench, device, dtype)
    if (device.type, dtype) == REFERENCE:
        return
    for name in bench.options("energy"):
        energy = any_energy(bench, name)
        x = torch.randn(16, *energy.shape, generator=rng, dtype=torch.float64)
        yield Fact(f"energy {name}", error_on(device, dtype, energy, x), bound, "relative")
    for name in bench.options("sampler"):
        kernel = bench.build("sampler", name, Kernel)
        law, _ = gaussian_facts(kernel, bench.rng(f"device/{name}", device), dtype)
        yield law._replace(what=f"sampler {name}")


def _generator_fact(bench: Bench, device: torch.device, dtype: torch.dtype) -> Fact:
    """Equal seeds give equal numbers, by each function that draws from a generator."""

    def draws() -> list[Tensor]:
        rng = bench.rng("device/generator", device)
        weights = torch.ones(10, dtype=dtype, device=device)
        functions: list[Callable[[], Tensor]] = [
            lambda: torch.randn(100, generator=rng, dtype=dtype, device=device),
            lambda: torch.rand(100, generator=rng, dtype=dtype, device=device),
            lambda: torch.randint(1000, (100,), generator=rng, device=device),
            lambda: torch.randperm(100, generator=rng, device=device),
            lambda: torch.multinomial(weights, 100, replacement=True, generator=rng),
        ]
        return [draw() for draw in functions]

    differ = sum(int((one != two).sum()) for one, two in zip(draws(), draws(), strict=True))
    return Fact("the same seed twice", differ, 0.0, "differ")


def _disk(bench: Bench) -> Iterator[Fact]:
    """A checkpoint comes back as it was written, and one with a flipped bit does not come back."""
    rng = bench.rng("device/disk")
    weight = torch.randn(SIZE, SIZE, generator=rng)
    state = {name: kind() for name, kind in checkpoints.PARTS.items()} | {"energy": {"weight": weight}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.pt")
        checkpoints.save(file, state)
        differ = int((checkpoints.read(file)["energy"]["weight"] != weight).sum())
        yield Fact("a checkpoint, read again", differ, 0.0, "differ")
        sound, passed = file.read_bytes(), 0
        # Of the tensor itself, which is most of the file: a header has bytes that mean nothing.
        for place in torch.randint(len(sound) // 4, 3 * len(sound) // 4, (N_FLIPS,), generator=rng).tolist():
            file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            try:
                checkpoints.read(file)
            except UserError:
                continue
            passed += 1
        yield Fact(f"{N_FLIPS} with a flipped bit", passed, 0.0, "accepted")
