"""The options of `edge-agent order say` and `live_start`, and the arguments that they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.cli import posting, speech
from edge_agent.command.audible import KEY_PATTERN

Args = dict[str, Any]

Volume = Annotated[int | None, typer.Option(min=0, max=100, help="Âm lượng lượt này / volume of this turn.")]
Zone = Annotated[list[str] | None, typer.Option(help="Vùng loa; lặp lại được / a zone; may be repeated.")]
Title = Annotated[str, typer.Option(help="Tên chương trình / what the programme is called.")]
StartAt = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Mọi nút bắt đầu đúng lúc này (2026-11-27T17:00:00+07:00) hoặc sau đó (30s) / every node begins then, or after so long.",
    ),
]


_Port = Annotated[
    int | None, typer.Option(min=1024, max=65535, help="Cổng UDP của nút / the node's UDP port.")
]
_Multicast = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Nhóm multicast / a multicast group.")
]
_Source = Annotated[
    str | None, typer.Option(metavar="HOST", help="Chỉ nhận từ máy này / only packets from this host.")
]
_Relay = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Máy chuyển tiếp, khi nút ở sau NAT / a relay, for a node behind NAT."
    ),
]
_Codec = Annotated[str, typer.Option(help="opus | pcmu | pcma | l16")]
_ClockHz = Annotated[int | None, typer.Option(help="Tần số của l16 / the clock of l16, Hz.")]
_PayloadType = Annotated[int, typer.Option(min=0, max=127, help="RTP payload type.")]
_RedType = Annotated[
    int, typer.Option(min=-1, max=127, help="Payload type của RED; -1: không / of RED; -1: none.")
]
_SrtpFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Tệp khóa SRTP (edge-agent send --new-key) / the SRTP key's file."),
]
_Stream = Annotated[
    str | None, typer.Option(metavar="URL", help="Luồng Icecast, HLS, HTTP / a stream that is fetched.")
]
_Pin = Annotated[
    str | None,
    typer.Option(metavar="sha256:…", help="Chứng thư của máy chủ luồng / the server's certificate."),
]
_Mode = Annotated[str, typer.Option(help="talk | solo | group")]
_DelayMs = Annotated[int | None, typer.Option(min=60, max=3000, help="Độ trễ, ms / the delay, ms.")]
_Max = Annotated[str, typer.Option("--max", metavar="TIME", help="Dài nhất / longest.")]
_Lost = Annotated[
    str, typer.Option(metavar="TIME", help="Mất bao lâu thì kết thúc / lost for so long, it ends.")
]
_StandbyStream = Annotated[
    str | None, typer.Option(metavar="URL", help="Luồng dự phòng / a stream to stand in.")
]
_StandbyMedia = Annotated[
    str | None, typer.Option(metavar="sha256:…", help="Tệp dự phòng / a recording to stand in.")
]
_StandbyUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Nơi tải tệp ấy / where it may be fetched.")
]
_StandbySay = Annotated[str | None, typer.Option(metavar="TEXT", help="Lời dự phòng / words to stand in.")]


def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Lời cần đọc / the words.")],
    *,
    language: Annotated[str, typer.Option(help="Ngôn ngữ của lời / the language of the words.")] = "vi",
    times: Annotated[int, typer.Option(min=1, max=10, help="Đọc mấy lần / how often.")] = 1,
    volume: Volume = None,
    zone: Zone = None,
    title: Title = "",
    start_at: StartAt = None,
) -> Args:
    """Arguments of `say`."""
    args: Args = {
        "text": text, "language": language, "times": times, "volume": volume, "zones": zone, "title": title or None,
        "start_at": start(start_at),
    }  # fmt: skip
    return given(args)


def live_start(
    *,
    port: _Port = None,
    multicast: _Multicast = None,
    source: _Source = None,
    relay: _Relay = None,
    codec: _Codec = "opus",
    clock_hz: _ClockHz = None,
    payload_type: _PayloadType = 96,
    red_type: _RedType = 97,
    srtp_file: _SrtpFile = None,
    stream: _Stream = None,
    pin: _Pin = None,
    mode: _Mode = "solo",
    delay_ms: _DelayMs = None,
    max_: _Max = "1h",
    lost: _Lost = "60s",
    standby_stream: _StandbyStream = None,
    standby_media: _StandbyMedia = None,
    standby_url: _StandbyUrl = None,
    standby_say: _StandbySay = None,
    volume: Volume = None,
    zone: Zone = None,
    title: Title = "",
) -> Args:
    """Arguments of `live_start`."""
    rtp = {
        "port": port, "group": multicast, "source": source, "relay": _relay(relay), "codec": codec,
        "clock_hz": clock_hz, "payload_type": payload_type, "srtp": srtp_key(srtp_file),
    }  # fmt: skip
    by_rtp = port is not None or relay is not None
    if by_rtp == (stream is not None):
        raise speech.Usage("one_live")
    standby = given(
        {
            "stream": None if standby_stream is None else {"url": standby_stream},
            "media": standby_media,
            "url": standby_url,
            "say": standby_say,
        }
    )
    args: Args = {
        "rtp": given(rtp) | {"red_type": None if red_type < 0 else red_type} if by_rtp else None,
        "stream": None if stream is None else given({"url": stream, "pin": pin}),
        "mode": mode,
        "delay_ms": delay_ms,
        "max_s": seconds(max_),
        "lost_s": seconds(lost),
        "standby": standby or None,
        "volume": volume,
        "zones": zone,
        "title": title or None,
    }
    return given(args)


def given(args: Args) -> Args:
    """Without what was not said."""
    return {name: value for name, value in args.items() if value is not None}


def seconds(text: str) -> int:
    """A span as people write it, in seconds. Raises speech.Usage."""
    span = posting.duration(text)
    if span is None:
        raise speech.Usage("bad_expires", text=text)
    return int(span.total_seconds())


def start(text: str | None) -> str | None:
    """A moment, or so long from now, as RFC 3339. Raises speech.Usage."""
    if text is None:
        return None
    moment = posting.moment(text)
    if moment is None:
        raise speech.Usage("bad_moment", text=text)
    return moment.isoformat(timespec="milliseconds")


def srtp_key(file: Path | None) -> str | None:
    """The key in a file of one line, base64. Raises speech.Usage; never shows the key."""
    if file is None:
        return None
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise speech.Usage("file_unreadable", path=file, why=why) from None
    if re.fullmatch(KEY_PATTERN, text) is None:
        raise speech.Usage("bad_srtp_key", path=file)
    return text


def address(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises speech.Usage."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise speech.Usage("bad_relay", text=text)
    return host.strip("[]"), int(port)


def _relay(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    host, port = address(text)
    return {"host": host, "port": port}
