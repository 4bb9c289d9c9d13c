"""Checks of the machine: each device agrees with the CPU in float64, and the disk returns what was written to it."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ebm_cli.errors import UserError, first_line
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.samplers import Kernel
from ebm_cli.selftest.derivatives import error_on, perturbed_energy
from ebm_cli.selftest.harness import Check, Fact, Harness, Skip, Unavailable
from ebm_cli.selftest.native import native_checks
from ebm_cli.selftest.samplers import gaussian_facts
from ebm_cli.selftest.tolerances import relative_error
from ebm_cli.system.device import device_of

SIZE = 256
BOUNDS = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Precision → bound of its relative error against float64 on the CPU."""
REFERENCE = ("cpu", torch.float64)
"""Device and precision of the other subjects, which need no second check here."""
N_FLIPS = 8


def device_checks(harness: Harness) -> Iterator[Check]:
    """A check for each device and precision, for each device that this machine lacks, for native code and the disk."""
    for device in harness.devices:
        for dtype in BOUNDS:
            name = f"{device.type} {str(dtype).removeprefix('torch.')}"
            yield Check(name, partial(_device_facts, harness, device, dtype))
    for kind in ("cuda", "mps"):
        if not is_available(kind):
            yield Check(kind, partial(_absent, kind))
    yield from native_checks(harness)
    yield Check("disk", partial(_disk_facts, harness))


def is_available(kind: str) -> bool:
    """True if this machine has a device of this kind: cpu, cuda or mps."""
    try:
        device_of(kind)
    except UserError:
        return False
    return True


def _absent(kind: str) -> Iterator[Skip]:
    yield Skip("", f"this machine has no {kind} device that its version of torch can use")


def _device_facts(harness: Harness, device: torch.device, dtype: torch.dtype) -> Iterator[Fact | Skip]:
    try:
        torch.zeros(1, dtype=dtype, device=device)
    except TypeError as error:  # torch raises it on MPS, which has no float64
        yield Skip("", first_line(error))
        return
    rng, bound = harness.rng(f"device/{device}/{dtype}"), BOUNDS[dtype]
    a, b, c = torch.randn(3, SIZE, SIZE, generator=rng, dtype=torch.float64)
    there = [matrix.to(device, dtype) for matrix in (a, b, c)]
    yield Fact("matrix products", relative_error(there[0] @ there[1] @ there[2], a @ (b @ c)), bound, "relative")
    yield _generator_fact(harness, device, dtype)
    if (device.type, dtype) == REFERENCE:
        return
    for name in harness.options("energy"):
        yield _or_skip(f"energy {name}", partial(_energy_fact, harness, name, device, dtype, rng))
    for name in harness.options("sampler"):
        yield _or_skip(f"sampler {name}", partial(_sampler_fact, harness, name, device, dtype))


def _or_skip(what: str, measure: Callable[[], Fact | Skip]) -> Fact | Skip:
    """The fact of one option under this name, or a skip if this machine cannot build the option."""
    try:
        return measure()._replace(what=what)
    except Unavailable as missing:
        return Skip(what, str(missing))


def _energy_fact(
    harness: Harness, name: str, device: torch.device, dtype: torch.dtype, rng: torch.Generator
) -> Fact | Skip:
    energy = perturbed_energy(harness, name)
    x = torch.randn(16, *energy.shape, generator=rng, dtype=torch.float64)
    return Fact("", error_on(device, dtype, energy, x), BOUNDS[dtype], "relative")


def _sampler_fact(harness: Harness, name: str, device: torch.device, dtype: torch.dtype) -> Fact | Skip:
    kernel = harness.build("sampler", name, Kernel)
    return gaussian_facts(kernel, harness.rng(f"device/{name}", device), dtype)[0]


def _generator_fact(harness: Harness, device: torch.device, dtype: torch.dtype) -> Fact:
    """Equal seeds give equal numbers, for each function that draws from a generator."""

    def draws() -> list[Tensor]:
        rng = harness.rng("device/generator", device)
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


def _disk_facts(harness: Harness) -> Iterator[Fact]:
    """A checkpoint is read as it was written, and one with a flipped bit is refused."""
    rng = harness.rng("device/disk")
    weight = torch.randn(SIZE, SIZE, generator=rng)
    state = {name: kind() for name, kind in checkpoints.REQUIRED.items()} | {"energy": {"weight": weight}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.pt")
        checkpoints.save(file, state)
        differ = int((checkpoints.read(file)["energy"]["weight"] != weight).sum())
        yield Fact("checkpoint, read back", differ, 0.0, "differ")
        sound, n_accepted = file.read_bytes(), 0
        # Flips within the tensor, which is most of the file: a header has bytes without a meaning.
        for place in torch.randint(len(sound) // 4, 3 * len(sound) // 4, (N_FLIPS,), generator=rng).tolist():
            file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            try:
                checkpoints.read(file)
            except UserError:
                continue
            n_accepted += 1
        yield Fact(f"{N_FLIPS} flipped bits", n_accepted, 0.0, "accepted")
