"""`edge-agent desired DOC FILE`: check a desired document, sign it and publish it retained; the integrator's tool.

Exit codes: 0 published, or with --wait applied; 1 the document has faults; 2 wrong usage; 3 not sent; 4 with --wait: the
node rejected or ignored it; 5 with --wait: nothing was heard in time.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from edge_agent import catalogue
from edge_agent.cache import manifest
from edge_agent.catalogue import Language
from edge_agent.cli import posting, speech
from edge_agent.cli.order import address
from edge_agent.command import documents
from edge_agent.command.json_lines import line_of
from edge_agent.desired import Doc, Signed
from edge_agent.errors import DocumentRefused
from edge_agent.model import Issuer, Precedence
from edge_agent.schedule import occurrences, plan, playlist_form
from hal.errors import BrokerError, BrokerRefused
from hal.linux.broker import MqttBroker
from hal.linux.clock import SystemClock
from hal.ports import Connect, Message

FAULTY: Final = 1
HELP: Final = (
    "Kiểm tra, ký và đặt lịch, kho tệp, bảng, cấu hình / check, sign and publish a desired document. 0 đã gửi/published; "
    "1 tài liệu có lỗi/faults; 3 không gửi được/not sent; 4 nút không nhận/not taken; 5 hết giờ chờ/no answer in time."
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("desired", help=HELP)(publish)


def publish(
    doc: Annotated[str, typer.Argument(metavar="schedule|media|board|config")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Nội dung, JSON / the body, JSON.")],
    *,
    broker: Annotated[
        str,
        typer.Option(metavar="URL", envvar="EDGE_AGENT_BROKER", help="mqtt://host:1883, mqtts://host:8883"),
    ] = "",
    node: Annotated[str | None, typer.Option(metavar="ID", help="Cho một nút / for one node.")] = None,
    group: Annotated[str | None, typer.Option(metavar="NAME", help="Cho một nhóm / for a group.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Số hiệu, tăng dần / grows with each (seconds since 1970).")
    ] = None,
    klass: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="routine | priority | emergency")
    ] = "routine",
    key: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Khóa ký / sign with this key.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Tài liệu lớn: nơi tải tệp này / a large document: where FILE is fetched."),
    ] = None,
    check_only: Annotated[bool, typer.Option("--check", help="Chỉ kiểm tra / only check.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Chờ nút trả lời / wait for the node.")] = False,
    wait_s: Annotated[float, typer.Option(min=0.1, help="Chờ nhiều nhất, giây / wait at most, s.")] = 60.0,
    issuer: Annotated[str | None, typer.Option(help="Nơi ra lệnh / who issues it.")] = None,
    root: Annotated[str, typer.Option(help="Gốc của topic / first part of every topic.")] = "pa/v1",
    username: Annotated[str | None, typer.Option(help="Tên đăng nhập / user name.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Tệp mật khẩu / file with the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="CA của broker / who vouches for the broker.")] = None,
    cert_file: Annotated[Path | None, typer.Option(help="Chứng thư của bạn / your certificate.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Khóa TLS của bạn / its private key.")] = None,
    lang: Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")] = None,
) -> int:
    """Check the body, and unless `--check` publish it."""
    tongue = speech.language(lang)
    if doc not in {one.value for one in Doc}:
        raise speech.Usage("bad_document", name=doc)
    try:
        body = file.read_bytes()
    except OSError as error:
        raise speech.Usage("file_unreadable", path=file, why=error.strerror or str(error)) from None
    if klass not in {each.wire for each in Precedence}:
        raise speech.Usage("bad_class", name=klass)
    if not _checked(Doc(doc), body, Precedence.from_wire(klass), tongue):
        return FAULTY
    if check_only:
        print(catalogue.say("desired_good", tongue, path=file))
        return 0
    if not broker:
        raise speech.Usage("bad_broker_url", url=broker)
    where = address(
        broker=broker, node=node, group=group, klass=klass, key=key, issuer=issuer, root=root, username=username,
        password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file, lang=lang,
        wait=wait, wait_s=wait_s,
    )  # fmt: skip
    return _send(Doc(doc), body, where, version=version, url=url)


def _checked(doc: Doc, body: bytes, highest: Precedence, tongue: Language) -> bool:
    """Whether a node would understand it; every fault is told, with its line."""
    now = SystemClock(always_synced=True).utc_now()
    signed = Signed(issuer=Issuer("check"), highest=highest, version=1, issued_at=now)
    warnings: tuple[Any, ...] = ()
    try:
        match doc:
            case Doc.SCHEDULE:
                warnings = occurrences.collisions(plan.read(body, signed, line_in=True))
            case Doc.MEDIA:
                manifest.read(body)
            case Doc.BOARD:
                playlist_form.read(body, signed)
            case Doc.CONFIG:
                json.loads(body)
    except DocumentRefused as refusal:
        for fault in refusal.faults:
            facts = {"line": line_of(body, fault.path) or 1, "path": fault.path, "text": fault.message}
            speech.complain(catalogue.say("desired_fault", tongue, **facts))
        return False
    except ValueError as error:
        speech.complain(catalogue.say("desired_fault", tongue, line=1, path="$", text=str(error)))
        return False
    for fault in warnings:
        facts = {"line": line_of(body, fault.path) or 1, "path": fault.path, "text": fault.message}
        speech.complain(catalogue.say("desired_warning", tongue, **facts))
    return True


def _send(doc: Doc, body: bytes, where: posting.Address, *, version: int | None, url: str | None) -> int:
    import hashlib

    keys, now = posting.keys_of(where), SystemClock(always_synced=True).utc_now()
    pointer = None
    if url is not None:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        pointer = documents.Pointer(url=url, sha256=digest, size=len(body))
    number = version or int(now.timestamp())
    payload = documents.compose(
        doc, version=number, issuer=posting.issuer_of(where, keys), audience=[where.audience], issued_at=now,
        highest=where.precedence, body=None if pointer is not None else body, pointer=pointer,
    )  # fmt: skip
    blob = documents.seal(payload, [key.signer for key in keys])
    try:
        opened = documents.opened(blob, expected=doc)
    except DocumentRefused as refusal:
        raise speech.Usage("bad_arguments", text=refusal.text) from None
    try:
        return asyncio.run(_published(posting.broker_of(where), doc, blob, opened.digest, where))
    except BrokerRefused as error:
        return posting.not_sent("broker_refused", where, error)
    except BrokerError as error:
        return posting.not_sent("broker_unreachable", where, error)


async def _published(broker: MqttBroker, doc: Doc, blob: bytes, digest: str, where: posting.Address) -> int:
    connect = Connect(client_id=f"desired-{digest[:16]}", clean_start=True, session_expiry_s=0)
    place = where.node if where.node is not None else f"g/{where.group}"
    async with broker.session(connect) as session:
        if where.wait:
            await session.subscribe(f"{where.root}/{where.node or '+'}/up/reported/{doc}")
        topic = f"{where.root}/{place}/dn/desired/{doc}"
        await session.publish(
            Message(topic=topic, payload=blob, retain=True, content_type="application/json")
        )
        if not where.wait:
            print(json.dumps({"doc": doc.value, "hash": digest}))
            return 0
        try:
            async with asyncio.timeout(where.wait_s):
                while True:
                    delivery = await session.receive()
                    session.acknowledge(delivery)
                    said = msgspec.json.decode(delivery.payload or b"{}", type=dict[str, Any])
                    if said.get("hash") != digest:
                        continue
                    print(json.dumps(said, ensure_ascii=False), flush=True)
                    if said["status"] != "pending":
                        return 0 if said["status"] == "applied" else posting.UNSUCCESSFUL
        except TimeoutError:
            return posting.NO_FINAL_STATE
