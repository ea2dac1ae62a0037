"""JSON Schemas of every message, from the very models by which the node reads and writes them.

Draft 7 as far as keywords go, which AsyncAPI and the validators of most languages know. Python's
end of text (`\\Z`) becomes `$`, which means the same in the regular expressions of JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_agent.cache import manifest
from edge_agent.command import documents, envelope, keyring, keys, messages, reconcile, time_answer
from edge_agent.config import remote
from edge_agent.report import alerts, asrun, status
from edge_agent.schedule import forms, playlist_form

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"
_Number = Annotated[int, Meta(ge=1, description="grows by one; acknowledge with dn/ack")]
_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Log = Annotated[
    str, Meta(description="which row of numbers; a new one begins when the node lost its database")
]


class StateLine(messages.CommandState, frozen=True, kw_only=True):
    """One state of one order, with the number that the outbox gives it."""

    n: _Number
    log: _Log


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the as-run log. `hash` is sha256 over `previous` (as bytes) and the bytes of `asrun` as they came."""

    n: _Number
    asrun: asrun.AsRunEntry
    previous: _Hash
    hash: _Hash


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the as-run log travel together."""

    log: _Log
    reports: list[ReportLine]


def everything() -> dict[str, Schema]:
    """Each schema by the name of its file."""
    shapes: dict[str, tuple[str, Any]] = {
        "envelope": ("A DSSE envelope around an order or a keys document.", envelope._Envelope),
        "order": ("The signed bytes of an order.", envelope._Inner),
        "keys": ("The signed bytes of a keys document.", keys.KeysDocument),
        "pending": ("dn/pending: envelopes of the orders that the server still holds.", messages.Pending),
        "ack": ("dn/ack: what the server has stored.", messages.Ack),
        "state": ("up/state: birth, farewell, or the will.", status.Birth | status.Will | status.Farewell),
        "caps": ("up/caps: what the node can do.", status.Caps),
        "ask": ("up/ask: what the node wants to be told.", messages.Ask),
        "cmd": ("up/cmd: one state of one order.", StateLine),
        "report": ("up/report: entries of the as-run log, some at a time.", Reports),
        "reported-keys": ("up/reported/keys: what became of the latest keys document.", keyring.Reported),
        "reported": ("up/reported/<doc>: what became of the latest document.", reconcile.Reported),
        "desired": ("The signed bytes of a desired document.", documents.DocumentForm),
        "desired-schedule": ("The body of a schedule document.", forms.ScheduleForm),
        "desired-media": ("The body of a media document.", manifest.MediaForm),
        "desired-board": ("The body of a board document.", playlist_form.BoardForm),
        "desired-config": ("The body of a config document.", remote.ConfigForm),
        "time": ("The signed bytes of dn/time.", time_answer.TimeForm),
        "alert": ("up/alert/<id>: what is wrong now.", alerts.Alert),
        "health": ("up/health: how the node is.", status.Health),
    }
    made = {name: _schema(title, shape) for name, (title, shape) in shapes.items()}
    for verb, shape in messages.ARGS_OF_VERB.items():
        made[f"args-{verb.replace('_', '-')}"] = _schema(f"The args of an order `{verb}`.", shape)
    _order_knows_its_args(made["order"])
    made["pending"]["definitions"]["Pending"]["properties"]["orders"]["items"] = {"$ref": "envelope.json"}
    return made


def texts() -> dict[str, str]:
    """The files of `docs/schemas`."""
    return {f"{name}.json": _text(schema) for name, schema in everything().items()}


def _schema(title: str, shape: Any) -> Schema:
    (main,), parts = msgspec.json.schema_components([shape], ref_template="#/definitions/{name}")
    main.pop("discriminator", None)  # OpenAPI's, not JSON Schema's
    whole = {"$schema": DIALECT, "title": title, **main, "definitions": parts}
    plain: Schema = json.loads(json.dumps(whole).replace("_Envelope", "Envelope").replace("_Inner", "Order"))
    for part in _parts(plain):
        if "pattern" in part:
            part["pattern"] = part["pattern"].removesuffix("\\Z") + "$"
        if "description" in part:
            part["description"] = " ".join(part["description"].split())
    if "$ref" in plain:  # beside `$ref`, draft 7 looks at nothing else
        plain["allOf"] = [{"$ref": plain.pop("$ref")}]
    return plain


def _order_knows_its_args(order: Schema) -> None:
    shape = order["definitions"]["Order"]
    shape["properties"]["v"] = {"const": envelope.VERSION}
    shape["properties"]["class"] = {"enum": ["routine", "priority", "emergency"]}
    shape["properties"]["verb"] = {"enum": list(messages.ARGS_OF_VERB)}
    shape["allOf"] = [
        {
            "if": {"properties": {"verb": {"const": verb}}},
            "then": {"properties": {"args": {"$ref": f"args-{verb.replace('_', '-')}.json"}}},
        }
        for verb in messages.ARGS_OF_VERB
    ]


def _parts(node: Any) -> Iterator[Schema]:
    """Every object in a schema."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _parts(child)
    elif isinstance(node, list):
        for child in node:
            yield from _parts(child)


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
