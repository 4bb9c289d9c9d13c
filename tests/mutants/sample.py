"""The mutants: every place where an operator of cosmic-ray applies, and a seeded sample of them.

Left out, because they would flatter the score or say nothing:

- what is inside a type annotation, or in `__all__`: no test is about those;
- `<< >> | & ^ ~` in the place of arithmetic: a TypeError for any float, whatever the tests say;
- what does not parse (the `*` of keyword-only arguments is an operator to cosmic-ray), or parses to the same tree;
- the operators that take arguments (a variable's name): there is no sample without a choice of names.
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
BITS = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor", "Invert")


class Site(NamedTuple):
    """The occurrence-th place in a file where an operator applies."""

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
    """All of them, in the order of the files, the operators and the source."""
    names = [name for name in sorted(operator_names()) if not get_operator(name).arguments() and not _of_bits(name)]
    for folder in FOLDERS:
        for file in sorted((tree / "ebm_cli" / folder).glob("*.py")):
            text = file.read_text()
            nodes, hidden = list(ast_nodes(get_ast(text))), list(_hidden(text))
            for name in names:
                operator, occurrence = get_operator(name)(), 0
                for node in nodes:
                    for start, _ in operator.mutation_positions(node):
                        if not any(low <= start < high for low, high in hidden):
                            yield Site(str(file.relative_to(tree)), name, occurrence, start[0])
                        occurrence += 1


def sample(tree: Path, n: int, seed: int) -> list[Mutant]:
    """n mutants, each site as likely as another."""
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
    """The mutant of a site; None where it does not parse, or says the same."""
    before = (tree / site.path).read_text()
    after = mutate_code(before, get_operator(site.operator)(), site.occurrence)
    try:
        if after is None or ast.dump(ast.parse(after)) == ast.dump(ast.parse(before)):
            return None
    except SyntaxError:
        return None
    old, new = before.splitlines(), after.splitlines()
    at = next(i for i, (left, right) in enumerate(zip(old, new, strict=False)) if left != right)
    # An operator may join a number that begins its line to the line before.
    return Mutant(site, after, *(" ".join(" ".join(lines).split()) for lines in (old[at : site.line], [new[at]])))


def _of_bits(name: str) -> bool:
    kind, *between = name.partition("/")[2].split("_")
    return kind in ("ReplaceBinaryOperator", "ReplaceUnaryOperator") and between[1] in BITS and between[0] not in BITS


def _hidden(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where no mutant is: from (line, column) to (line, column)."""
    for node in ast.walk(ast.parse(text)):
        inner: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            inner.append(node)
        for part in inner:
            if isinstance(part, ast.expr | ast.stmt) and part.end_lineno is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset or 0)
