"""What we publish for others is what the code makes today; AsyncAPI holds together; messages are as the schemas say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.topics import Topics
from edge_agent.model import NodeId
from hal.sim.loop import run
from tests.command.scene import NODE, ROOT, Scene, an_order
from tests.publish import asyncapi, schemas
from tests.publish.__main__ import DOCS, generated, published

PUBLISHED = published()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_file_is_what_the_models_say_today(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PUBLISHED[name], f"docs/{name}: run make publish"


def test_nothing_lies_there_that_is_no_longer_made() -> None:
    assert generated() <= PUBLISHED.keys()


# ---------------------------------------------------------------- schemas


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(child)


@pytest.mark.parametrize("name", sorted(schemas.everything()))
def test_a_schema_stands_alone_and_speaks_draft_7(name: str) -> None:
    schema = schemas.everything()[name]
    for part in objects(schema):
        assert not part.keys() & {
            "$defs",
            "prefixItems",
            "dependentSchemas",
            "unevaluatedProperties",
            "discriminator",
        }
        if isinstance(part.get("pattern"), str):
            assert part["pattern"].startswith("^")
            assert part["pattern"].endswith("$")
            assert not re.search(r"\\[ZA]|\(\?[PL<=!]|\+\+|\*\+", part["pattern"]), (
                "a form that JavaScript does not know"
            )
        reference = part.get("$ref")
        if isinstance(reference, str):
            file, _, pointer = reference.partition("#")
            place = schemas.everything()[file.removesuffix(".json")] if file else schema
            for step in pointer.strip("/").split("/") if pointer else ():
                place = place[step]
    assert not any(word[0] == "_" for word in schema["definitions"]), "a private name"


def test_every_verb_has_its_arguments() -> None:
    assert {f"args-{verb.replace('_', '-')}" for verb in ARGS_OF_VERB} <= schemas.everything().keys()


def test_what_the_node_sends_is_of_the_published_shapes() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1))
            await asyncio.sleep(5)

    run(main(), scene.counter)
    shapes = {"cmd": schemas.StateLine, "report": schemas.Reports}
    seen = set()
    for entry in scene.broker.received_on(f"{ROOT}/{NODE}/up/+"):
        kind = entry.message.topic.rpartition("/")[2]
        if kind in shapes:
            strict = msgspec.json.decode(entry.message.payload, type=shapes[kind])
            assert msgspec.to_builtins(strict) == json.loads(entry.message.payload)
            seen.add(kind)
    assert seen == set(shapes)


# ---------------------------------------------------------------- AsyncAPI


def test_asyncapi_names_every_topic_that_the_node_uses() -> None:
    own = Topics(root="pa/v1", node=NodeId("{node}"), groups=("{group}",))
    addresses = {topic.address for topic in asyncapi.topics()}
    heard = [topic.replace("cmd/#", "cmd/{verb}") for topic in (*own.own(), *own.of_groups())]
    assert set(heard) == {address for address in addresses if "/dn/" in address}
    said = set(re.findall(r"`pa/v1/N/(up/[a-z/<>]+)`", (DOCS / "protocol.md").read_text(encoding="utf-8")))
    named = {
        address.removeprefix("pa/v1/{node}/").replace("{alert}", "<id>")
        for address in addresses
        if "/up/" in address
    }
    assert named == said, "the table in docs/protocol.md"


def test_asyncapi_holds_together() -> None:
    whole = asyncapi.document()
    assert whole["asyncapi"] == "3.0.0"
    assert whole.keys() <= {
        "asyncapi",
        "id",
        "info",
        "servers",
        "defaultContentType",
        "channels",
        "operations",
        "components",
    }
    assert {"title", "version"} <= whole["info"].keys()
    for part in objects(whole):
        reference = part.get("$ref")
        if reference is None:
            continue
        assert part.keys() == {"$ref"}
        if reference.startswith("#/"):
            place: Any = whole
            for step in reference[2:].split("/"):
                place = place[step]
        else:
            assert (DOCS / reference).is_file(), reference
    for name, channel in whole["channels"].items():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == channel["parameters"].keys(), name
    assert {operation["channel"]["$ref"] for operation in whole["operations"].values()} == {
        f"#/channels/{name}" for name in whole["channels"]
    }
    for operation in whole["operations"].values():
        assert operation["action"] in {"send", "receive"}


def test_the_yaml_is_the_document() -> None:
    """Every line is a key, a dash, or one with a value in JSON; read so, it is the document again."""
    lines = [line for line in asyncapi.text().splitlines() if not line.startswith("#")]
    value, rest = parsed(lines, 0)
    assert rest == []
    assert value == asyncapi.document()


def parsed(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    pad = "  " * indent
    listing = lines[0].startswith(f"{pad}-")
    items: list[Any] = []
    pairs: dict[str, Any] = {}
    while lines and lines[0].startswith(pad) and not lines[0].startswith(pad + " "):
        head = lines[0][len(pad) :]
        found = re.fullmatch(r'(?:(-)|("[^"]*"|[A-Za-z][\w-]*):)(?: (.*))?', head)
        assert found is not None, lines[0]
        if found[3] is None:
            value, lines = parsed(lines[1:], indent + 1)
        else:
            value, lines = json.loads(found[3]), lines[1:]
        if listing:
            items.append(value)
        else:
            pairs[found[2].strip('"')] = value
    return (items if listing else pairs), lines


def test_the_yaml_has_no_surprises_for_yaml_1_1() -> None:
    for line in asyncapi.text().splitlines():
        key = line.strip().partition(":")[0]
        assert key not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, line


def test_published_names_are_linked_from_the_protocol() -> None:
    protocol = (DOCS / "protocol.md").read_text(encoding="utf-8")
    for place in ("asyncapi.yaml", "schemas/order.json", "test-vectors/README.md"):
        assert f"({place})" in protocol
        assert (DOCS / place).is_file()
