"""The config files that we ship: config/node.toml has every key, its default, and a comment in both languages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.config import Settings, load
from edge_agent.config.toml_lines import KeyPath, lines_of

CONFIG = Path(__file__).resolve().parents[2] / "config"
NODE = CONFIG / "node.toml"
VIETNAMESE = re.compile(
    r"[ăâđêôơưàảãạáằẳẵặắầẩẫậấèẻẽẹéềểễệếìỉĩịíòỏõọóồổỗộốờởỡợớùủũụúừửữựứỳỷỹỵý]", re.IGNORECASE
)

EXAMPLES = {("node", "id"), ("amplifier", "power")}
"""What has no default, or an example in its place."""


def uncommented() -> str:
    """The file with the keys in it that stand behind a #."""
    return re.sub(r"^#([a-z_]+ = )", r"\1", NODE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def keys(shape: type[msgspec.Struct], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key of every section, with its default."""
    for field in msgspec.structs.fields(shape):
        here = (*path, field.encode_name)
        if (
            not path and field.encode_name == "boards"
        ):  # a table for each further board, and none to begin with
            continue
        if not path:
            yield from keys(field.type, here)
        elif field.default_factory is not msgspec.NODEFAULT:
            yield here, field.default_factory()
        else:
            yield here, field.default


def test_the_shipped_files_are_good() -> None:
    load(NODE)
    load(CONFIG / "sim.toml", hardware="sim")


def test_every_key_stands_in_node_toml_and_nothing_else() -> None:
    wanted = {path for path, _ in keys(Settings)}
    parsed = tomllib.loads(uncommented())
    found: set[KeyPath] = {(section, key) for section, pairs in parsed.items() for key in pairs}
    assert found == wanted


def test_sections_stand_in_the_order_of_the_settings() -> None:
    assert list(tomllib.loads(uncommented())) == list(Settings.__struct_encode_fields__)


@pytest.mark.parametrize(
    ("path", "default"), [pytest.param(*key, id=".".join(map(str, key[0]))) for key in keys(Settings)]
)
def test_each_key_has_its_default_or_is_not_set(path: KeyPath, default: Any) -> None:
    section, key = path
    pairs = tomllib.loads(NODE.read_text(encoding="utf-8")).get(str(section), {})
    if path in EXAMPLES:
        return
    if default is None:
        assert key not in pairs, "a key without a default stands behind a #"
    else:
        assert msgspec.to_builtins(default) == pytest.approx(as_written(pairs[key], default))


def as_written(value: Any, default: Any) -> Any:
    return tuple(value) if isinstance(default, tuple) else value


def test_each_key_is_explained_in_vietnamese_then_in_english() -> None:
    text = uncommented()
    rows = text.split("\n")
    for path, line in lines_of(text).items():
        if (
            len(path) < 2
            or path[:2] == ("amplifier", "power")
            or isinstance(path[-1], int)
            or "{" in rows[line - 1][:8]
        ):
            continue
        if len(path) > 2:
            continue
        english, vietnamese = rows[line - 2], rows[line - 3]
        assert english.startswith("# "), f"{path} has no comment"
        if not english.startswith("# inputs ="):
            assert not VIETNAMESE.search(english), f"{path}: the second line is English"
            assert VIETNAMESE.search(vietnamese), f"{path}: the first line is Vietnamese"


def test_the_examples_behind_a_hash_are_good_too() -> None:
    text = uncommented().replace('url = "mqtt://127.0.0.1:1883"', 'url = "mqtts://may-chu:8883"')
    from edge_agent.config import parse

    settings = parse(text)
    assert settings.broker.username == "thon-mau"
    assert settings.sense.status_led is not None
