"""The house rules that a linter does not know: sizes, names, first lines, the map."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted((ROOT / "edge_agent").rglob("*.py")) + sorted((ROOT / "hal").rglob("*.py"))
ALL = CODE + sorted((ROOT / "tests").rglob("*.py"))

LINES_PER_FILE = 500
LINES_PER_FUNCTION = 70
BANNED = {
    "manager", "handler", "helper", "helpers", "util", "utils", "common", "misc", "service", "processor", "base", "impl", "data", "info",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_file_is_a_sitting_and_a_function_a_screen(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LINES_PER_FILE, f"{name_of(path)} is too long for one sitting"
    for function in functions(ast.parse(source)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= LINES_PER_FUNCTION, (
            f"{name_of(path)}:{function.lineno} {function.name} is {length} lines"
        )


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_module_says_in_its_first_line_what_lives_here(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{name_of(path)} has no docstring"
    assert len(docstring.splitlines()[0]) >= 20, f"{name_of(path)}: the first line says too little"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_names_say_what_a_thing_is(path: Path) -> None:
    words = set(path.stem.split("_"))
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words |= {word.lower() for word in re.findall(r"[A-Z][a-z]+", node.name)}
    assert not words & BANNED, f"{name_of(path)} uses {sorted(words & BANNED)} in a file or class name"


def test_the_map_names_every_room_and_file() -> None:
    house_map = (ROOT / "edge_agent" / "__init__.py").read_text()
    for path in CODE:
        if path.stem == "__init__":
            continue
        assert re.search(rf"\b{path.stem}\b", house_map), (
            f"{name_of(path)} is not on the map in edge_agent/__init__.py"
        )


def test_nothing_is_left_to_do_without_saying_so() -> None:
    for path in ALL:
        if path == Path(__file__):
            continue
        assert "TO" + "DO" not in path.read_text(), f"{name_of(path)} has a note of unfinished work"


def test_nothing_but_the_agreed_stands_at_the_root() -> None:
    allowed = {
        "edge_agent", "hal", "config", "tests", "systemd", "docs", "pyproject.toml", "README.md", "Makefile", "LICENSE",
        "CHANGELOG.md", "CONTRIBUTING.md", "uv.lock", ".ci", ".gitignore", ".git", ".pre-commit-config.yaml",
    }  # fmt: skip
    ignored = {
        ".venv",
        "sim-out",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        ".coverage",
        "__pycache__",
        ".import_linter_cache",
    }
    found = {path.name for path in ROOT.iterdir()} - ignored
    assert found <= allowed, f"unexpected at the root: {sorted(found - allowed)}"
