"""`edge-agent send`: a file, standard input or a microphone as RTP/Opus, in real time; what a district's studio runs.

Exit codes: 0 sent to the end; 2 wrong usage; 3 it cannot be sent (name, socket, device, file); 130 after Ctrl-C, with
the goodbye sent.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import order_live, speech
from edge_agent.cli.keyfile import write_once

if TYPE_CHECKING:
    from edge_agent.cli.sending import Input, Sender, Told

NOT_SENT: Final = 3
_PIECE_BYTES: Final = 1_920
"""20 ms of 16-bit mono at 48 kHz."""
_RATE_HZ: Final = 48_000

_Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE|-]",
        help="Tệp âm thanh; - là PCM 16 bit mono từ đầu vào chuẩn / a sound file; - is raw 16-bit mono PCM.",
    ),
]
_To = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST:PORT", help="Gửi đến; lặp lại được / where to; may be repeated."),
]
_Listen = Annotated[
    int | None,
    typer.Option(
        min=1024, max=65535, metavar="PORT",
        help="Làm máy chuyển tiếp: gửi cho nút nào đã lên tiếng / be the relay: send to whoever has spoken to us.",
    ),
]  # fmt: skip
_Mic = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help='Micro (một phần tên; "" = mặc định) / a microphone, by part of its name.'
    ),
]
_KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Khóa SRTP / the SRTP key's file.")]
_NewKey = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Tạo khóa SRTP mới / make a new SRTP key.")
]
_Interface = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Cổng mạng gửi multicast / the interface for multicast.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("send", help="Phát trực tiếp từ phòng thu / send live sound from a studio.")(send)


def send(
    source: _Source = None,
    *,
    to: _To = None,
    listen: _Listen = None,
    mic: _Mic = None,
    key_file: _KeyFile = None,
    new_key: _NewKey = None,
    bitrate: Annotated[int, typer.Option(min=8_000, max=256_000, help="bit/s.")] = 32_000,
    red_offset: Annotated[
        int,
        typer.Option(
            min=0, max=17, help="Gửi lại mỗi gói sau mấy gói; 0: không / copies so many packets later."
        ),
    ] = 4,
    fec: Annotated[bool, typer.Option(help="Opus in-band FEC.")] = True,
    loss_percent: Annotated[
        int, typer.Option(min=0, max=50, help="Mất gói dự kiến / loss to expect, %.")
    ] = 10,
    music: Annotated[
        bool, typer.Option("--music", help="Nhạc, không phải lời / music rather than speech.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Lặp tệp mãi / the file over and over.")] = False,
    rate: Annotated[
        int, typer.Option(min=8_000, max=192_000, help="Hz, của đầu vào chuẩn / of standard input.")
    ] = _RATE_HZ,
    interface: _Interface = None,
    local_port: Annotated[int, typer.Option(min=0, max=65535, help="Cổng gửi / the port to send from.")] = 0,
    lang: Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")] = None,
) -> int:
    """Check what was said, then send."""
    tongue = speech.language(lang)
    if new_key is not None:
        return _make_key(new_key, tongue)
    if (source is None) == (mic is None):
        raise speech.Usage("one_input")
    if bool(to) == (listen is not None):
        raise speech.Usage("to_or_listen")
    plan = _Plan(
        source=source,
        mic=mic,
        to=tuple(order_live.address(text) for text in to or ()),
        port=listen if listen is not None else local_port,
        key=order_live.srtp_key(key_file),
        rate=rate,
        loop=loop,
        interface=interface,
        sending={
            "ssrc": secrets.randbits(32), "first_sequence": secrets.randbits(15), "first_timestamp": secrets.randbits(31),
            "bitrate": bitrate, "red_offset": red_offset, "fec": fec, "loss_percent": loss_percent, "voice": not music,
        },
    )  # fmt: skip
    from edge_agent.errors import Refused
    from hal.errors import DatagramError

    try:
        asyncio.run(_run(plan, tongue))
    except (DatagramError, Refused, OSError) as error:
        speech.complain(catalogue.say("cannot_send", tongue, why=getattr(error, "text", None) or error))
        return NOT_SENT
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be sent, and how."""

    source: str | None
    mic: str | None
    to: tuple[tuple[str, int], ...]
    port: int
    key: str | None
    rate: int
    loop: bool
    interface: str | None
    sending: dict[str, Any]


async def _run(plan: _Plan, tongue: Language) -> None:
    from edge_agent.cli.sending import Sender
    from edge_agent.stream.packetiser import Packetiser, Sending
    from edge_agent.stream.srtp import Srtp, key_of
    from hal.linux.clock import SystemClock
    from hal.linux.datagram import UdpDatagrams

    clock = SystemClock(always_synced=True)
    datagrams = UdpDatagrams(clock)
    to = tuple([await datagrams.resolve(*address) for address in plan.to])
    anywhere = "::" if any(":" in host for host, _ in to) else "0.0.0.0"  # noqa: S104 - receivers answer from anywhere
    socket = await datagrams.open(host=anywhere, port=plan.port, interface=plan.interface)
    try:
        sender = Sender(
            socket=socket,
            clock=clock,
            packetiser=Packetiser(Sending(**plan.sending)),
            to=to,
            srtp=None if plan.key is None else Srtp(key_of(plan.key)),
        )
        async with _telling(sender, tongue), _input(plan) as frames:
            await sender.send(frames)
    finally:
        socket.close()


# ---------------------------------------------------------------- where the sound comes from


@asynccontextmanager
async def _input(plan: _Plan) -> AsyncIterator[Input]:
    if plan.mic is not None:
        async with _microphone(plan.mic) as frames:
            yield frames
    elif plan.source == "-":
        yield _raw(plan.rate)
    else:
        assert plan.source is not None
        yield _file(Path(plan.source), loop=plan.loop)


def _file(path: Path, *, loop: bool) -> Input:
    """A sound file, decoded. Raises MediaRefused, OSError when it is read."""
    from edge_agent.playout.sources import MediaSource, open_media

    playing: MediaSource | None = None

    async def frames() -> Any:
        nonlocal playing
        while True:
            first = playing is None
            if playing is None:
                playing = await open_media(path.open("rb"), 0.0)
            piece = await playing.read(_RATE_HZ // 10)
            if piece.size:
                return piece
            await playing.close()
            if first or not loop:
                return None
            playing = None

    return frames


def _raw(rate: int) -> Input:
    """Standard input, 16-bit little-endian mono."""
    import numpy as np

    from edge_agent.playout.rate import evenly

    resampler = None if rate == _RATE_HZ else evenly(rate)

    async def frames() -> Any:
        blob = await asyncio.to_thread(sys.stdin.buffer.read, _PIECE_BYTES)
        if len(blob) < 2:
            return None
        samples = np.frombuffer(blob[: len(blob) // 2 * 2], "<i2").astype(np.float32) / np.float32(32_768)
        return samples if resampler is None else resampler.resample_chunk(samples)

    return frames


@asynccontextmanager
async def _microphone(name: str) -> AsyncIterator[Input]:
    import sounddevice

    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[Any] = asyncio.Queue(50)

    def put(piece: Any) -> None:
        with suppress(asyncio.QueueFull):
            pieces.put_nowait(piece)

    def heard(block: Any, _frames: int, _time: Any, _status: Any) -> None:
        loop.call_soon_threadsafe(put, block[:, 0].copy())

    try:
        stream = sounddevice.InputStream(
            samplerate=_RATE_HZ, blocksize=_RATE_HZ // 50, channels=1, dtype="float32", device=name or None, callback=heard
        )  # fmt: skip
    except (sounddevice.PortAudioError, ValueError) as error:
        raise OSError(str(error)) from error
    with stream:
        yield pieces.get


# ---------------------------------------------------------------- what people read


@asynccontextmanager
async def _telling(sender: Sender, tongue: Language) -> AsyncIterator[None]:
    """A line each second, where somebody sees it."""
    if not sys.stderr.isatty():
        yield
        return
    task = asyncio.create_task(_tell(sender.told, tongue))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        print(file=sys.stderr)


async def _tell(told: Told, tongue: Language) -> None:
    before = 0
    while True:
        await asyncio.sleep(1)
        lost = max((block.fraction * 100 // 256 for block in told.reports.values()), default=0)
        jitter = max((block.jitter * 1_000 // _RATE_HZ for block in told.reports.values()), default=0)
        line = catalogue.say(
            "sending", tongue, packets=told.packets, kbit=(told.octets - before) * 8 // 1_000,
            listeners=told.listeners, lost=lost, jitter=jitter,
        )  # fmt: skip
        before = told.octets
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _make_key(path: Path, tongue: Language) -> int:
    """A new key, for its owner's eyes only; never over an old one."""
    from edge_agent.stream.srtp import KEY_BYTES

    try:
        write_once(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n", mode=0o600)
    except FileExistsError:
        raise speech.Usage("file_exists", path=path) from None
    except OSError as error:
        raise speech.Usage("keys_file", path=path, why=error.strerror) from None
    print(catalogue.say("srtp_key_made", tongue, path=path))
    return 0
