"""A line of numpy, or of torch, that writes the arrays of a file anew without some of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from ebm_cli.datasets.io.contents import GROUP, Reading
from ebm_cli.datasets.io.pandas_call import PandasCall, copy_keys
from ebm_cli.datasets.io.rewriting import Repair, Rewriting, copy_of, near, python_command
from ebm_cli.quoting import typed


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

    def of_records(self, names: Sequence[str], keys: Reading, *, is_native: bool) -> PandasCall:
        """The rewriting of an array of records as a table in text.

        Args:
            names: of its fields.
            keys: by which a copy would be read, beside `array`.
            is_native: whether its numbers have the order of bytes of this machine, as pandas needs them.
        """
        records = f"numpy.load({{0}}){'' if self.member is None else f'[{self.member!r}]'}"
        if not is_native:
            records = f"(lambda x: x.astype(x.dtype.newbyteorder('=')))({records})"
        frame = f"pandas.DataFrame({records})"
        return PandasCall(self.file, "", (), names, (), copy_keys(names, keys), frame, "numpy")

    def flat(self) -> str:
        """The command that writes records of several numbers a field as rows and columns, and the key of its copy."""
        copy = copy_of(self.file, ".npy")
        x = f"numpy.load({str(near(self.file))!r}){'' if self.member is None else f'[{self.member!r}]'}"
        code = f"import numpy, numpy.lib.recfunctions as r; x = {x}; "
        code += f"numpy.save({str(copy)!r}, r.structured_to_unstructured(x).reshape(len(x), -1))"
        return f"to write them as rows and columns: {python_command(code)} and {typed(f'{GROUP}.path', copy)}"
