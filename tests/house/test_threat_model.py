"""The threat model: each test that it names is there, and each attacker that the project promised is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")


def named() -> list[tuple[str, str]]:
    """(file, test) of each test that is named; `::test` alone goes on with the file before it."""
    found: list[tuple[str, str]] = []
    file = ""
    for path, test in re.findall(r"`(tests/[a-z_/]+\.py)?(?:::(test_\w+))?`", MODEL):
        file = path or file
        if path or test:
            found.append((file, test))
    return found


@pytest.mark.parametrize(("file", "test"), sorted(set(named())), ids=lambda part: part or "-")
def test_what_a_claim_rests_on_is_there(file: str, test: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"{file} is named in docs/threat-model.md and does not exist"
    if test:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("attacker", ["broker", "server", "SIM", "LAN", "pole", "card"])
def test_each_attacker_has_a_section(attacker: str) -> None:
    sections = re.findall(r"^## (.*)$", MODEL, re.MULTILINE)
    assert any(attacker in section for section in sections)


def test_it_says_what_is_not_defended_against() -> None:
    assert "## What we do not defend against" in MODEL
