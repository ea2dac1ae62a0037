"""`docs/asyncapi.yaml`: every topic of the node as AsyncAPI 3.0 (asyncapi.com/docs/reference/specification/v3.0.0).

The application that it describes is the node: it *receives* what goes down and *sends* what goes up.
Payloads are the schemas beside it. Written as YAML by a few lines of our own: text in double quotes,
as JSON has it, is YAML, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from edge_agent import __version__
from edge_agent.command import documents, envelope, keys, time_answer
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.topics import Topics, order_topic
from edge_agent.desired import Doc
from edge_agent.model import NodeId

ROOT = "pa/v1"
_NODE, _GROUP, _VERB = NodeId("{node}"), "{group}", "{verb}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: its name in the document, its address, and what is published there."""

    name: str
    address: str
    schema: str
    text: str
    qos: int = 1
    retain: bool = False

    @property
    def down(self) -> bool:
        """Whether the node receives it."""
        return "/dn/" in self.address


def topics() -> list[Topic]:
    """Every topic, by the code that builds them for the node."""
    own = Topics(root=ROOT, node=_NODE, groups=(_GROUP,))
    down = f"{ROOT}/{_NODE}/dn"
    return [
        Topic(name="order", address=order_topic(ROOT, verb=_VERB, node=_NODE), schema="envelope", text="An order for one node. Never retained; message expiry is the order's."),
        Topic(name="groupOrder", address=order_topic(ROOT, verb=_VERB, group=_GROUP), schema="envelope", text="An order for a group. Answers are spread over some seconds."),
        Topic(name="desiredKeys", address=f"{down}/desired/keys", schema="envelope", retain=True, text="The keys document for one node."),
        Topic(name="groupDesiredKeys", address=f"{ROOT}/g/{_GROUP}/dn/desired/keys", schema="envelope", retain=True, text="The keys document for a group."),
        *(
            Topic(name=f"{prefix}esired{doc.value.title()}", address=f"{where}/desired/{doc}", schema="envelope", retain=True, text=f"The {doc} document for {whose}.")
            for prefix, where, whose in (("d", down, "one node"), ("groupD", f"{ROOT}/g/{_GROUP}/dn", "a group"))
            for doc in Doc
        ),
        Topic(name="time", address=f"{down}/time", schema="envelope", text="The signed time, in answer to up/ask."),
        Topic(name="pending", address=f"{down}/pending", schema="pending", text="The answer to up/ask: orders that the server still holds."),
        Topic(name="ack", address=f"{down}/ack", schema="ack", text="What the server has stored of up/cmd and up/report."),
        Topic(name="state", address=own.up("state"), schema="state", retain=True, text="Birth, farewell, or the will (45 s after the connection is lost)."),
        Topic(name="caps", address=own.up("caps"), schema="caps", retain=True, text="What the node can do."),
        Topic(name="ask", address=own.up("ask"), schema="ask", text="After each connect: what the node wants to be told."),
        Topic(name="cmd", address=own.up("cmd"), schema="cmd", text="One state of one order; may come again until it is acknowledged."),
        Topic(name="report", address=own.up("report"), schema="report", text="The as-run log; may come again until it is acknowledged."),
        Topic(name="reportedKeys", address=own.up("reported/keys"), schema="reported-keys", retain=True, text="What became of the latest keys document."),
        *(
            Topic(name=f"reported{doc.value.title()}", address=own.up(f"reported/{doc}"), schema="reported", retain=True, text=f"What became of the latest {doc} document.")
            for doc in Doc
        ),
        Topic(name="alert", address=own.up("alert/{alert}"), schema="alert", retain=True, text="What is wrong now; an empty payload: solved."),
        Topic(name="health", address=own.up("health"), schema="health", qos=0, text="Load, memory, disk, queue, traffic."),
    ]  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document."""
    whole = topics()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Village node",
            "version": __version__,
            "description": "Orders, keys, states and reports over MQTT 5. The rules are in docs/protocol.md; signed examples in docs/test-vectors.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{host}:8883",
                "protocol": "mqtts",
                "protocolVersion": "5.0",
                "description": "Mutual TLS: the node shows a certificate whose common name is its id.",
                "variables": {"host": {"description": "as in broker.url", "default": "localhost"}},
                "bindings": {
                    "mqtt": {"cleanSession": False, "keepAlive": 30, "sessionExpiryInterval": 604800}
                },
            }
        },
        "channels": {topic.name: _channel(topic) for topic in whole},
        "operations": {_operation_name(topic): _operation(topic) for topic in whole},
        "components": {"messages": _messages(whole)},
    }


def text() -> str:
    """The file."""
    head = "# Made by `make publish` from the node's models (tests/publish); a test compares. Do not edit.\n"
    return head + "\n".join(_lines(document(), 0)) + "\n"


def _channel(topic: Topic) -> dict[str, Any]:
    described = {
        "node": {"description": "the node's id, 3 to 40 of a-z, 0-9, -"},
        "group": {"description": "a group's name, 3 to 40 of a-z, 0-9, -"},
        "verb": {"description": "the verb of the order", "enum": list(ARGS_OF_VERB)},
        "alert": {"description": "what kind of thing is wrong"},
    }
    named = re.findall(r"{(\w+)}", topic.address)
    return {
        "address": topic.address,
        "description": topic.text,
        "parameters": {name: described[name] for name in named},
        "messages": {topic.schema: {"$ref": f"#/components/messages/{topic.name}"}},
    }


def _operation_name(topic: Topic) -> str:
    verb = "receive" if topic.down else "send"
    return verb + topic.name[0].upper() + topic.name[1:]


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "receive" if topic.down else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.text,
        "bindings": {"mqtt": {"qos": topic.qos, "retain": topic.retain}},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.schema}"}],
    }


def _messages(whole: list[Topic]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for topic in whole:
        made[topic.name] = {
            "name": topic.name,
            "contentType": "application/json",
            "summary": topic.text,
            "payload": {"$ref": f"./schemas/{topic.schema}.json"},
        }
        if topic.schema == "envelope":
            inner, kind = _inner(topic.name)
            made[topic.name]["description"] = (
                f"payloadType is {kind}; decoded from base64, payload is JSON as schemas/{inner}.json says."
            )
    return made


def _inner(name: str) -> tuple[str, str]:
    """The schema and the payloadType of what an envelope holds."""
    if name.endswith("Keys"):
        return "keys", keys.PAYLOAD_TYPE
    if "esired" in name:
        return "desired", documents.PAYLOAD_TYPE
    return ("time", time_answer.PAYLOAD_TYPE) if name == "time" else ("order", envelope.PAYLOAD_TYPE)


def _lines(node: Any, indent: int) -> list[str]:
    """A value as lines of YAML."""
    pad = "  " * indent
    lines: list[str] = []
    if isinstance(node, dict):
        for key, value in node.items():
            name = key if re.fullmatch(r"[A-Za-z][\w-]*", key) else json.dumps(key)
            lines += _entry(f"{pad}{name}:", value, indent)
    else:
        for value in node:
            lines += _entry(f"{pad}-", value, indent)
    return lines


def _entry(head: str, value: Any, indent: int) -> list[str]:
    if isinstance(value, dict | list) and value:
        return [head, *_lines(value, indent + 1)]
    return [f"{head} {json.dumps(value, ensure_ascii=False)}"]
