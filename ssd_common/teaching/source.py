"""The source of a module as text: its lines of code, its parts, its docstrings. Nothing is imported."""

from __future__ import annotations

import ast
import io
import tokenize

FRAMEWORKS = ("torch", "torchvision", "mxnet")


def code_lines(source: str) -> list[str]:
    """Return the lines of code of a module's source, without docstrings, comments and what is blank then."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            lines[node.body[0].lineno - 1 : node.body[0].end_lineno] = [""] * len(
                lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
            )
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return [line.rstrip() for line in lines if line.strip()]


def framework_words(source: str) -> frozenset[str]:
    """Return the names that a module's source imports from PyTorch or MXNet: `torch`, `nn`, `npx`, …."""
    words = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            words |= {_bound(alias) for alias in node.names if alias.name.partition(".")[0] in FRAMEWORKS}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FRAMEWORKS:
            words |= {_bound(alias) for alias in node.names}
    return frozenset(words)


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def parts(source: str) -> dict[str, str]:
    """Return a module's source in parts that together are the whole: "" is what stands before the first public name.

    Every public function and class of the module is a part, by its name, with the comments above it and the private
    definitions between it and the next one.

    Args:
        source: of a module.
    """
    lines = source.splitlines(keepends=True)
    starts = {"": 0}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
            while first and lines[first - 1].startswith("#"):
                first -= 1
            starts[node.name] = first
    ends = [*list(starts.values())[1:], len(lines)]
    return {name: "".join(lines[start:end]) for (name, start), end in zip(starts.items(), ends, strict=True)}


def docstring(part: str) -> str:
    """Return the docstring of a part's first definition, or of the module whose first part it is; "" without one."""
    return ast.get_docstring(_documented(part)) or ""


def without_docstring(part: str) -> str:
    """Return a part without the docstring that `docstring` returns.

    Args:
        part: as `parts` returns it.
    """
    node = _documented(part)
    if ast.get_docstring(node) is None:
        return part
    lines = part.splitlines(keepends=True)
    del lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
    return "".join(lines).lstrip("\n")


def _documented(part: str) -> ast.Module | ast.FunctionDef | ast.ClassDef:
    module = ast.parse(part)
    first = module.body[0] if module.body else module
    return first if isinstance(first, ast.FunctionDef | ast.ClassDef) else module
