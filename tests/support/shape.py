"""Print the shape of the tree: how long and how tangled its functions and files are.

Run by `make lint`. The aims: 95 % of functions within 25 code lines, 3 levels of nesting and 5
arguments; files within 500 lines; every function annotated. It reports and never fails: a number
is a place to look.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("services", "clients/python", "kernels")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith)


@dataclass
class Shape:
    """What was counted in one set of files."""

    files: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    nesting: list[int] = field(default_factory=list)
    arguments: list[int] = field(default_factory=list)
    unannotated: int = 0
    broad: int = 0
    long: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """All lines of code."""
        return sum(self.files)


def code_lines(source: str, tree: ast.AST) -> set[int]:
    """Numbers of the lines that hold code: not blank, not comment, not docstring."""
    lines = {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep blocks are nested in a function, functions within it left out."""
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, FUNCTIONS)]
    return max([level, *(depth(child, level + isinstance(child, BLOCKS)) for child in inner)])


def add_function(
    shape: Shape, node: ast.FunctionDef | ast.AsyncFunctionDef, code: set[int], path: Path
) -> None:
    """Count one function."""
    length = sum(node.lineno <= line <= (node.end_lineno or node.lineno) for line in code)
    shape.functions.append(length)
    shape.nesting.append(depth(node))
    shape.arguments.append(len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs))
    shape.unannotated += node.returns is None
    if length > 50:
        shape.long.append(
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({length} code lines)"
        )


def measure(paths: Iterator[Path]) -> Shape:
    """Count every Python file of `paths` that was not generated."""
    shape = Shape()
    for path in paths:
        if "_pb2" in path.name:
            continue
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        code = code_lines(source, tree)
        shape.files.append(len(code))
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                add_function(shape, node, code, path)
            elif isinstance(node, ast.ExceptHandler):
                named = node.type.id if isinstance(node.type, ast.Name) else ""
                shape.broad += node.type is None or named in {"Exception", "BaseException"}
    return shape


def spread(values: list[int]) -> str:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values) or [0]
    median, p95 = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
    return f"median {median}, p95 {p95}, max {ordered[-1]}"


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file below these folders of the project."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def main() -> None:
    """Print the table."""
    source, tests = measure(python_files(*SOURCES)), measure(python_files("tests"))
    rows = [
        (
            "code lines",
            f"{source.code} in {len(source.files)} files, {tests.code} in tests",
        ),
        ("a function", spread(source.functions)),
        ("nesting", spread(source.nesting)),
        ("arguments", spread(source.arguments)),
        ("a file", spread(source.files)),
        ("unannotated", str(source.unannotated)),
        ("broad excepts", f"{1000 * source.broad / max(source.code, 1):.1f} in 1,000 lines"),
    ]
    sys.stdout.write("".join(f"{name:14} {value}\n" for name, value in rows))
    sys.stdout.write("".join(f"over 50 lines  {place}\n" for place in source.long))


if __name__ == "__main__":
    main()
