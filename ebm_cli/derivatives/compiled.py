"""The sweep of an energy as compiled code.

A small network's sweep is dozens of kernels of microseconds each, and half of an eager step is reading and writing what
lies between them. The compiler (TorchDynamo, Inductor) fuses all that is not a matrix product. What it is given is one
function of tensors without a random draw, whose outputs are all needed: for an output that nothing depends on it would
still compute a backward pass, of zeros. Derivatives in x are part of the function (`rules`), so that it needs one
ordinary backward pass; differentiating twice is what the compiler cannot do.

Only points of one number, one dtype and one device go through it: other calls (evaluation, a pilot) are eager, and
which is which follows from the call alone. So a run that is resumed takes the same path as one that never stopped.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ebm_cli.system.torch_internals import compiler_failures

T = TypeVar("T")
Outputs = TypeVar("Outputs", bound=tuple[Tensor, ...])
Sweep = Callable[..., Outputs]
"""A function of a module and tensors, without a draw, defined at the top of a module."""


class Compiled:
    """Runs functions of an energy compiled, each from its first call on; those that cannot be compiled run eager.

    Compiling takes 10 to 30 s the first time on a machine, and a few from the cache that the compiler keeps on disk:
    the jobs of a sweep compile once.

    Args:
        n_rows, dtype, device: of the points that are compiled for.
        tell: is given one line where the compiler fails.
        backend: of torch.compile.
    """

    def __init__(
        self,
        n_rows: int,
        dtype: torch.dtype,
        device: torch.device,
        tell: Callable[[str], None],
        backend: str = "inductor",
    ) -> None:
        self._kind = n_rows, dtype, device
        self._tell = tell
        self._backend = backend
        self._on_gpu = device.type == "cuda"
        self._made: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._known: dict[object, Any] = {}

    def __deepcopy__(self, memo: object) -> "Compiled":
        """The same: nothing here belongs to one energy."""
        return self

    def takes(self, x: Tensor) -> bool:
        """Whether these points are of the kind that is compiled for."""
        return (len(x), x.dtype, x.device) == self._kind

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """What is computed at the first call and the same ever after."""
        if key not in self._known:
            self._known[key] = compute()
        found: T = self._known[key]
        return found

    def __call__(self, function: Sweep[Outputs], energy: nn.Module, *inputs: Tensor | float) -> Outputs:
        """function(energy, *inputs), compiled.

        Args:
            function: of which every output is needed.
            energy: read at every call: weights that moved need no new compilation.
            inputs: tensors of the same shapes at every call; a number is a constant of the code.
        """
        made: Sweep[Outputs] | None = self._made.get(function)
        if made is None:
            made = self._made[function] = self._compile(function)
        if made is function:
            return function(energy, *inputs)
        try:
            try:
                return self._run(made, energy, *inputs)
            except self._full:
                # Networks of earlier jobs of a sweep, in the same process, count too.
                torch.compiler.reset()
                return self._run(made, energy, *inputs)
        except self._failures as error:
            self._made[function] = function
            # The first line says who failed, the second of what.
            line = " ".join(str(error).split("\n")[:2]).strip()[:200] or type(error).__name__
            self._tell(f"the compiler failed, and the run goes on without it ({line})")
            return function(energy, *inputs)

    def _run(self, made: Sweep[Outputs], energy: nn.Module, *inputs: Tensor | float) -> Outputs:
        if not self._on_gpu:
            return made(energy, *inputs)
        # The outputs lie in the graph's own memory, which its next replay overwrites.
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(out.clone() for out in made(energy, *inputs))  # type: ignore[return-value]

    def _compile(self, function: Sweep[Outputs]) -> Sweep[Outputs]:
        # Kept: to import them takes a second at first, and a call in a step has no time to look for them.
        self._full, failure = compiler_failures()
        self._failures = failure, self._full
        options: dict[str, Any] = {}
        # Guards on globals ask, at every call, whether the source of this package has changed meanwhile.
        unguarded = getattr(torch.compiler, "skip_guard_on_globals_unsafe", None)
        if unguarded is not None:
            options["guard_filter_fn"] = unguarded
        if self._on_gpu:
            # What mode="reduce-overhead" stands for: one launch for the whole graph.
            options["triton.cudagraphs"] = True
        # Sizes are fixed: code for any number of points would be slower for this one.
        return torch.compile(function, fullgraph=True, dynamic=False, backend=self._backend, options=options)


def run(function: Sweep[Outputs], energy: nn.Module, x: Tensor, *inputs: Tensor | float) -> Outputs:
    """function(energy, x, *inputs), in compiled form where the energy carries one for such points."""
    compiled = getattr(energy, "compiled", None)
    if compiled is None or not compiled.takes(x):
        return function(energy, x, *inputs)
    found: Outputs = compiled(function, energy, x, *inputs)
    return found
