"""The mutants: every place where an operator of cosmic-ray applies, and a seeded sample of them.

Excluded, because they would raise the score without a test, or are not mutants:

- type annotations and `__all__`, which no test executes;
- `<< >> | & ^ ~` in place of arithmetic, which is a TypeError for any float, however good the tests are;
- changes that do not parse (the `*` of keyword-only arguments is an operator to cosmic-ray) or give the same tree;
- operators with arguments (the name of a variable), of which there is no sample without a choice of names.
"""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

FOLDERS = ("methods", "samplers", "derivatives", "evaluation")
"""Packages of formulas, with their sub-packages."""
BITS = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor", "Invert")


class Site(NamedTuple):
    """A place in a file where an operator applies, the `occurrence`-th of this operator."""

    path: str
    operator: str
    occurrence: int
    line: int


@dataclass(frozen=True)
class Mutant:
    """A site with its mutated source, and the line before and after."""

    site: Site
    source: str
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.site.path}:{self.site.line} {self.site.operator} {self.before} → {self.after}"


def sites(tree: Path) -> Iterator[Site]:
    """All sites, in the order of the files, the operators and the source."""
    names = [name for name in sorted(operator_names()) if not get_operator(name).arguments() and not _is_bitwise(name)]
    for folder in FOLDERS:
        for file in sorted((tree / "ebm_cli" / folder).rglob("*.py")):
            text = file.read_text()
            nodes, excluded = list(ast_nodes(get_ast(text))), list(_excluded(text))
            for name in names:
                operator, occurrence = get_operator(name)(), 0
                for node in nodes:
                    for start, _ in operator.mutation_positions(node):
                        if not any(low <= start < high for low, high in excluded):
                            yield Site(str(file.relative_to(tree)), name, occurrence, start[0])
                        occurrence += 1


def sample(tree: Path, n: int, seed: int) -> list[Mutant]:
    """n mutants, with equal probability for each site."""
    order = list(sites(tree))
    random.Random(seed).shuffle(order)
    found: list[Mutant] = []
    for site in order:
        if len(found) == n:
            break
        mutant = mutated(tree, site)
        if mutant is not None:
            found.append(mutant)
    return found


def mutated(tree: Path, site: Site) -> Mutant | None:
    """The mutant of a site; None if it does not parse or gives the same tree."""
    before = (tree / site.path).read_text()
    after = mutate_code(before, get_operator(site.operator)(), site.occurrence)
    try:
        if after is None or ast.dump(ast.parse(after)) == ast.dump(ast.parse(before)):
            return None
    except SyntaxError:
        return None
    old, new = before.splitlines(), after.splitlines()
    at = next(i for i, (left, right) in enumerate(zip(old, new, strict=False)) if left != right)
    # An operator can join a number at the beginning of a line to the line before.
    return Mutant(site, after, *(" ".join(" ".join(lines).split()) for lines in (old[at : site.line], [new[at]])))


def _is_bitwise(name: str) -> bool:
    """True if an operator puts a bitwise operation in place of an arithmetic one."""
    kind, *between = name.partition("/")[2].split("_")
    return kind in ("ReplaceBinaryOperator", "ReplaceUnaryOperator") and between[1] in BITS and between[0] not in BITS


def _excluded(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Excluded parts of a source, each from (line, column) to (line, column)."""
    for node in ast.walk(ast.parse(text)):
        inner: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            inner.append(node)
        for part in inner:
            if isinstance(part, ast.expr | ast.stmt) and part.end_lineno is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset or 0)
