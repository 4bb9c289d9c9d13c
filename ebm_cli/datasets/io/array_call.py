"""A line of numpy, or of torch, that writes the arrays of a file anew without some of their rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from ebm_cli.datasets.io.rewriting import Repair, Rewriting, copy_of, near, python_command


@final
@dataclass(frozen=True)
class ArrayCall(Rewriting):
    """The rewriting of a .npy, .npz or .pt file.

    Attributes:
        file: its path.
        library: that reads it.
        member: the array of rows in a file of several, which all lose the same rows; None for a file of one array.
        keys: that the copy is read with, as they are typed.
    """

    file: Path
    library: Literal["numpy", "torch"]
    member: str | None = None
    keys: tuple[str, ...] = ()

    @property
    def copy(self) -> Path:
        suffix = ".pt" if self.library == "torch" else ".npy" if self.member is None else ".npz"
        return copy_of(self.file, suffix)

    def command(self, repair: Repair) -> str:
        path, copy = repr(str(near(self.file))), repr(str(self.copy))
        x = "x" if self.member is None else f"x[{self.member!r}]"
        loaded = f"numpy.load({path})" if self.library == "numpy" else f"torch.load({path}, weights_only=True)"
        kept = f"{self.library}.isfinite(r[:, {list(repair.complete)}]).all(1)"
        for j, values in repair.marks.items():
            kept += "".join(f" & ~(r[:, {j}] == {value!r})" for value in values)
        if self.member is None:
            written = f"numpy.save({copy}, x[k])" if self.library == "numpy" else f"torch.save(x[k], {copy})"
        else:
            # An array of another length is none of rows.
            parts = "{n: v[k] if getattr(v, 'shape', ())[:1] == k.shape else v for n, v in x.items()}"
            written = f"numpy.savez({copy}, **{parts})" if self.library == "numpy" else f"torch.save({parts}, {copy})"
        lines = (f"import {self.library}", f"x = {loaded}", f"r = {x}.reshape(len({x}), -1)", f"k = {kept}", written)
        return python_command("; ".join(lines))
