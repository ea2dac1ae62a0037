"""`edge-agent order VERB`: make an order and publish it; the integrator's tool.

Exit codes: 0 published, or with --wait successful; 2 wrong usage; 3 not sent (broker unreachable or
refusing); 4 with --wait: it ended otherwise than successful; 5 with --wait: no final state in time.
With --group and --wait the states of every node that answers are printed until --wait-s is over.
With --key FILE it is signed, and takes the next number of that key's counter (`edge_agent.cli.keyfile`).
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_agent.catalogue import Language
from edge_agent.cli import order_live, posting, speech
from edge_agent.command.envelope import ISS_PATTERN
from edge_agent.command.settings import ROOT_PATTERN
from edge_agent.model import Precedence

Args = dict[str, Any]

HELP: Final = (
    "Tạo và gửi một lệnh / make and publish an order. "
    "0 đã gửi, thành công/sent, successful; 3 không gửi được/not sent; 4 không thành công/unsuccessful; "
    "5 hết giờ chờ/no final state in time."
)
_NAME: Final = re.compile(r"[a-z0-9-]{3,40}")
_HASH_BYTES: Final = 1 << 20

_Keys = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Khóa ký lệnh; lặp lại được, khóa của nơi ra lệnh trước / sign with this key; repeatable, the issuer's first.",
    ),
]
_Nonce = Annotated[
    str | None, typer.Option(help="Nonce của nút, khi nút chưa biết giờ / the nonce of the node's birth.")
]
_CaFile = Annotated[Path | None, typer.Option(help="CA của broker / who vouches for the broker (PEM).")]
_CertFile = Annotated[Path | None, typer.Option(help="Chứng thư của bạn / your certificate (PEM).")]
_KeyFile = Annotated[
    Path | None, typer.Option(help="Khóa TLS của bạn / the private key of your certificate (PEM).")
]


def register(app: typer.Typer) -> None:
    """Add the verb and the verbs below it."""
    order = typer.Typer(help=HELP, no_args_is_help=False)
    app.add_typer(order, name="order")
    for name, arguments, text in (
        ("play", play, "Phát một tệp âm thanh / play a sound file."),
        ("say", order_live.say, "Đọc một đoạn lời / speak a text."),
        ("live_start", order_live.live_start, "Phát trực tiếp / let a live stream sound."),
        ("stop", stop, "Dừng một lệnh, hoặc mọi lệnh đến một lớp / stop an order, or all up to a class."),
        ("release", release, "Bỏ lệnh dừng / end a stop that lasts."),
        ("alert", alert, "Phát cảnh báo CAP, hoặc tin khẩn có sẵn / cry a CAP alert, or a stored message."),
        ("board_show", board_show, "Hiện một thông báo / show a notice on the board."),
        ("board_clear", board_clear, "Gỡ thông báo / take notices down."),
        ("volume", volume, "Đặt âm lượng của nút / set the node's volume."),
        ("ping", ping, "Hỏi nút có nghe không / ask whether the node hears us."),
    ):
        order.command(name, help=text)(_verb(name, arguments))


# ---------------------------------------------------------------- each verb's own options -> its arguments


def play(
    *,
    media: Annotated[
        str | None, typer.Option(metavar="sha256:…", help="Mã băm của tệp / the file's digest.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Tính mã băm từ tệp / take the digest of a file.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Nơi tải tệp / where it may be fetched (http, https).")
    ] = None,
    volume: order_live.Volume = None,
    zone: order_live.Zone = None,
    title: order_live.Title = "",
    start_at: order_live.StartAt = None,
) -> Args:
    """Arguments of `play`."""
    if (media is None) == (file is None):
        raise speech.Usage("one_media")
    digest = media if file is None else _digest_of(file)
    assert digest is not None
    if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
        raise speech.Usage("bad_digest", text=digest)
    args: Args = {
        "media": digest, "url": url, "volume": volume, "zones": zone, "title": title or None,
        "start_at": order_live.start(start_at),
    }  # fmt: skip
    return order_live.given(args)


def stop(
    *,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Mã của lệnh cần dừng / the order to stop.")
    ] = None,
    below: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Dừng lớp này và thấp hơn / stop this class and lower (emergency = all)."
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Giữ im trong bao lâu / and nothing of it for: 30m, 2h."),
    ] = None,
) -> Args:
    """Arguments of `stop`."""
    if (order is None) == (below is None):
        raise speech.Usage("one_stop")
    args: Args = {"order": order} if below is None else {"class": _precedence(below).wire}
    return args if last is None else args | {"for_s": int(_span(last).total_seconds())}


def release(
    *,
    stop: Annotated[
        str | None, typer.Option(metavar="ID", help="Chỉ lệnh dừng này / only this stop (all).")
    ] = None,
) -> Args:
    """Arguments of `release`."""
    return {} if stop is None else {"stop": stop}


def alert(
    *,
    cap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Bản tin CAP 1.2 (XML) / the CAP message.")
    ] = None,
    message: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tin khẩn có sẵn trong nút / a message stored there.")
    ] = None,
) -> Args:
    """Arguments of `alert`."""
    if cap is None and message is None:
        raise speech.Usage("cap_or_message")
    args: Args = {} if message is None else {"message": message}
    return args if cap is None else args | {"cap": _text_of(cap)}


def board_show(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Nội dung / the notice.")],
    *,
    ttl: Annotated[str, typer.Option(help="Hiện trong bao lâu / how long it stands: 30m, 2h, 1d.")] = "1h",
    board: Annotated[
        list[str] | None,
        typer.Option("--board", metavar="NAME", help="Bảng nào / which boards; may be repeated."),
    ] = None,
) -> Args:
    """Arguments of `board_show`."""
    args: Args = {"text": text, "ttl_s": int(_span(ttl).total_seconds())}
    return args | {"boards": board} if board else args


def board_clear(
    *,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Chỉ thông báo của lệnh này / only this order's notice.")
    ] = None,
) -> Args:
    """Arguments of `board_clear`."""
    return {} if order is None else {"order": order}


def volume(level: Annotated[int, typer.Argument(metavar="0-100", min=0, max=100)]) -> Args:
    """Arguments of `volume`."""
    return {"volume": level}


def ping() -> Args:
    """Arguments of `ping`."""
    return {}


# ---------------------------------------------------------------- what every verb takes


def address(
    *,
    broker: Annotated[
        str,
        typer.Option(metavar="URL", envvar="EDGE_AGENT_BROKER", help="mqtt://host:1883, mqtts://host:8883"),
    ],
    node: Annotated[str | None, typer.Option(metavar="ID", help="Gửi cho một nút / to one node.")] = None,
    group: Annotated[str | None, typer.Option(metavar="NAME", help="Gửi cho một nhóm / to a group.")] = None,
    expires: Annotated[str, typer.Option(help="Hết hạn sau / expires after: 90s, 5m, 2h, 1d.")] = "5m",
    klass: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="routine | priority | emergency")
    ] = "routine",
    wait: Annotated[
        bool, typer.Option("--wait", help="In từng trạng thái đến khi xong / print states until final.")
    ] = False,
    wait_s: Annotated[
        float | None,
        typer.Option(min=0.1, help="Chờ nhiều nhất, giây / wait at most, s (node 3600, group 60)."),
    ] = None,
    root: Annotated[str, typer.Option(help="Gốc của topic / first part of every topic.")] = "pa/v1",
    key: _Keys = None,
    issuer: Annotated[
        str | None, typer.Option(help="Nơi ra lệnh / who issues the order (whose the key is).")
    ] = None,
    nonce: _Nonce = None,
    order_id: Annotated[
        str | None, typer.Option("--id", help="Mã lệnh có sẵn / an id of your own (ULID, UUID).")
    ] = None,
    username: Annotated[
        str | None, typer.Option(help="Tên đăng nhập broker / user name at the broker.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Tệp mật khẩu, một dòng / file with the password.")
    ] = None,
    ca_file: _CaFile = None,
    cert_file: _CertFile = None,
    key_file: _KeyFile = None,
    lang: Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")] = None,
) -> posting.Address:
    """Where the order goes, from the options that every verb has."""
    if (node is None) == (group is None):
        raise speech.Usage("one_target")
    for name in (node, group):
        if name is not None and _NAME.fullmatch(name) is None:
            raise speech.Usage("bad_name", name=name)
    if re.search(ROOT_PATTERN, root) is None:
        raise speech.Usage("bad_root", name=root)
    if issuer is not None and re.search(ISS_PATTERN, issuer) is None:
        raise speech.Usage("bad_issuer", name=issuer)
    return posting.Address(
        broker=broker,
        node=node,
        group=group,
        root=root,
        issuer=issuer,
        keys=tuple(key or ()),
        nonce=nonce,
        username=username,
        password_file=password_file,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        expires=_span(expires),
        precedence=_precedence(klass),
        id=order_id,
        wait=wait,
        wait_s=wait_s,
        language=speech.language(lang),
    )


def _verb(name: str, arguments: Callable[..., Args]) -> Callable[..., int]:
    """A command with the options of `arguments` and of `address`; typer reads the signature made here."""
    own = inspect.signature(arguments, eval_str=True).parameters
    shared = inspect.signature(address, eval_str=True).parameters
    assert own.keys().isdisjoint(shared), "an option means one thing"

    def command(**given: Any) -> int:
        args = arguments(**{key: given[key] for key in own})
        return posting.post(name, args, address(**{key: given[key] for key in shared}))

    everything = [*own.values(), *shared.values()]
    everything.sort(key=lambda parameter: parameter.kind)
    setattr(command, "__signature__", inspect.Signature(everything, return_annotation=int))  # noqa: B010 - typer's way in
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything} | {
        "return": int
    }
    command.__name__ = name
    return command


def _span(text: str) -> timedelta:
    span = posting.duration(text)
    if span is None:
        raise speech.Usage("bad_expires", text=text)
    return span


def _precedence(name: str) -> Precedence:
    if name not in {each.wire for each in Precedence}:
        raise speech.Usage("bad_class", name=name)
    return Precedence.from_wire(name)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise speech.Usage("file_unreadable", path=file, why=why) from None


def _digest_of(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as reader:
            while block := reader.read(_HASH_BYTES):
                digest.update(block)
    except OSError as error:
        raise speech.Usage("file_unreadable", path=file, why=error.strerror or str(error)) from None
    return f"sha256:{digest.hexdigest()}"
