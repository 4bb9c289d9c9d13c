"""Native code that is attached to an energy: the mode `compile=native`."""

from collections.abc import Iterable

from ebm_cli.acceleration.native_build import LibraryUnavailable, load_library
from ebm_cli.acceleration.native_calls import uncovered
from ebm_cli.acceleration.native_chains import NativeChains
from ebm_cli.acceleration.native_network import layers_of
from ebm_cli.acceleration.native_values import NativeValues
from ebm_cli.energies import MLP, Energy
from ebm_cli.samplers import Kernel


def attach_native_code(
    energy: Energy, threads: int, kernels: Iterable[Kernel] = (), has_values: bool = False
) -> str | None:
    """Make the chains of an energy, and its values in a training step, run in native code.

    Sets `energy.native`, which `samplers.run` and `samplers.trace` then use for all that it covers, and with has_values
    `energy.native_values`, for `energies.values`. Torch does everything else (another kernel, float64, another device).
    The first call on a machine builds the library, in seconds.

    Args:
        energy: its weights may change, they are read at the start of every run.
        threads: ≥ 1; results are the same for any number, bit for bit.
        kernels: those that are going to run, of which one at least must be covered; none if that is not known.
        has_values: whether values are wanted, too, so that the code is of use without chains.

    Returns:
        None, or the reason why all stays in torch; the energy is then unchanged.
    """
    why = _why_not(energy, () if has_values else kernels)
    if why is None:
        energy.native = NativeChains(threads)
        energy.native_values = NativeValues(threads) if has_values else None
    return why


def covers(kernel: Kernel, energy: Energy) -> bool:
    """True if native code has this kernel and this energy, where it can be built."""
    return uncovered(kernel) is None and covers_values(energy)


def covers_values(energy: Energy) -> bool:
    """True if native code has the values of this energy, where it can be built."""
    return layers_of(energy) is not None


def _why_not(energy: Energy, kernels: Iterable[Kernel]) -> str | None:
    reasons = [uncovered(kernel) for kernel in kernels]
    if reasons and None not in reasons:
        return reasons[0]
    if type(energy) is not MLP:
        return f"native code needs energy=mlp, not {type(energy).__name__}"
    if layers_of(energy) is None:
        return "native code needs float32 on a CPU, and an activation among silu, softplus, tanh, gelu"
    try:
        load_library()
    except LibraryUnavailable as why:
        return f"native code is not available: {why}"
    return None
