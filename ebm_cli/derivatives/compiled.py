"""The sweep of an energy as compiled code.

A small network's sweep is dozens of kernels of microseconds each, and half of an eager step is reading and writing
what lies between them. The compiler (TorchDynamo, TorchInductor) fuses all that is not a matrix product. It is given
one function of tensors, without random draws, of which every output is needed: for an output that nothing depends on
it would still compute a backward pass, of zeros. Derivatives in x are part of the function (`rules`), so that it needs
one ordinary backward pass; differentiating twice is what the compiler cannot do.

Only calls with one number of points, one dtype and one device are compiled: others (evaluation, a pilot run) are
eager, and the call alone decides which. So a resumed run takes the same path as one that was never interrupted.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ebm_cli.system.torch_internals import compiler_failures

T = TypeVar("T")
Outputs = TypeVar("Outputs", bound=tuple[Tensor, ...])
SweepFn = Callable[..., Outputs]
"""A function of a module and tensors, without a random draw, defined at the top level of a module."""


class Compiled:
    """Functions of an energy, each compiled at its first call; those that cannot be compiled run eager.

    Compiling takes 10 to 30 s the first time on a machine, and a few from the cache that the compiler keeps on disk:
    the jobs of a sweep compile once.

    Args:
        n_rows, dtype, device: of the points of compiled calls.
        warn: is given one line where the compiler fails.
        backend: of torch.compile.
    """

    def __init__(
        self,
        n_rows: int,
        dtype: torch.dtype,
        device: torch.device,
        warn: Callable[[str], None],
        backend: str = "inductor",
    ) -> None:
        self._kind = n_rows, dtype, device
        self._warn = warn
        self._backend = backend
        self._on_gpu = device.type == "cuda"
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._computed: dict[object, Any] = {}

    def __deepcopy__(self, memo: object) -> "Compiled":
        """The same object: nothing in it belongs to one energy."""
        return self

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The functions that were called."""
        return tuple(self._compiled)

    def matches(self, x: Tensor) -> bool:
        """True if calls with these points are compiled."""
        return (len(x), x.dtype, x.device) == self._kind

    def compute_once(self, key: object, compute: Callable[[], T]) -> T:
        """The result of the first call with this key."""
        if key not in self._computed:
            self._computed[key] = compute()
        found: T = self._computed[key]
        return found

    def __call__(self, function: SweepFn[Outputs], energy: nn.Module, *inputs: Tensor | float) -> Outputs:
        """function(energy, *inputs), compiled.

        Args:
            function: of which every output is needed.
            energy: read at every call: changed weights need no new compilation.
            inputs: tensors of the same shapes at every call; a number is a constant of the code.
        """
        compiled: SweepFn[Outputs] | None = self._compiled.get(function)
        if compiled is None:
            compiled = self._compiled[function] = self._compile(function)
        if compiled is function:
            return function(energy, *inputs)
        try:
            try:
                return self._run(compiled, energy, *inputs)
            except self._limit_hit:
                # Networks of earlier jobs of a sweep, in the same process, count towards the limit, too.
                torch.compiler.reset()
                return self._run(compiled, energy, *inputs)
        except self._failures as error:
            self._compiled[function] = function
            # The first line says which part failed, the second why.
            line = " ".join(str(error).split("\n")[:2]).strip()[:200] or type(error).__name__
            self._warn(f"torch.compile failed; continuing without it ({line})")
            return function(energy, *inputs)

    def _run(self, compiled: SweepFn[Outputs], energy: nn.Module, *inputs: Tensor | float) -> Outputs:
        if not self._on_gpu:
            return compiled(energy, *inputs)
        # The outputs lie in the graph's own memory, which its next replay overwrites.
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(out.clone() for out in compiled(energy, *inputs))  # type: ignore[return-value]  # a tuple like the compiled one

    def _compile(self, function: SweepFn[Outputs]) -> SweepFn[Outputs]:
        # Looked up here and kept: their first import takes a second, and a step should not repeat the look-up.
        self._limit_hit, failure = compiler_failures()
        self._failures = failure, self._limit_hit
        options: dict[str, Any] = {}
        # Guards on globals ask, at every call, whether the source of this package has changed meanwhile.
        unguarded = getattr(torch.compiler, "skip_guard_on_globals_unsafe", None)
        if unguarded is not None:
            options["guard_filter_fn"] = unguarded
        if self._on_gpu:
            # As mode="reduce-overhead" has it: one launch for the whole graph.
            options["triton.cudagraphs"] = True
        # Sizes are fixed: code for any number of points would be slower for this one.
        return torch.compile(function, fullgraph=True, dynamic=False, backend=self._backend, options=options)


def run_sweep(function: SweepFn[Outputs], energy: nn.Module, x: Tensor, *inputs: Tensor | float) -> Outputs:
    """function(energy, x, *inputs), compiled where the energy has `compiled` for such points."""
    compiled = getattr(energy, "compiled", None)
    if compiled is None or not compiled.matches(x):
        return function(energy, x, *inputs)
    found: Outputs = compiled(function, energy, x, *inputs)
    return found
