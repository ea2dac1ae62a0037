"""`edge-agent stop`, `release`, `status`: the technician at the box, through the daemon's local socket.

They work without network and broker, and with a config that has problems (then the socket is looked for
where a real node has it). Whoever is in the group edge-agent may use them.

Exit codes: 0 done; 1 the node refused; 2 wrong usage; 3 the node cannot be reached: it does not run, or you
may not (sudo, or the group edge-agent).
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_agent import catalogue, config
from edge_agent.catalogue import Language
from edge_agent.cli import posting, speech
from edge_agent.local.requests import STOP_S_MAX
from edge_agent.local.settings import RUNTIME
from edge_agent.model import Precedence

REFUSED: Final = 1
UNREACHABLE: Final = 3

_PATIENCE_S: Final = 15.0
_MOST_BYTES: Final = 128 * 1024
_CODES: Final = "0 xong/done; 1 bị từ chối/refused; 3 không tới được nút/node cannot be reached."

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", metavar="FILE", readable=False, help="Tệp cấu hình của nút / the node's config."
    ),
]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Như với run / as for run.")
]
SimDir = Annotated[Path | None, typer.Option("--sim-dir", metavar="DIR", help="Như với run / as for run.")]
HardwareOption = Annotated[
    str | None, typer.Option("--hardware", metavar="linux|sim", help="Như với run / as for run.")
]
SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", readable=False, help="Ổ cắm của nút / the node's socket."),
]
Json = Annotated[bool, typer.Option("--json", help="Một đối tượng JSON / one JSON object.")]
Lang = Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")]

DEFAULT: Final = Path("/etc/edge-agent/node.toml")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("stop", help=f"Dừng loa tại chỗ / silence the node at the box. {_CODES}")(stop)
    app.command("release", help=f"Bỏ lệnh dừng / end sticky stops. {_CODES}")(release)
    app.command("status", help=f"Xem tình trạng nút / how the node is. {_CODES}")(status)


def stop(
    *,
    for_: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="10m",
            help="Giữ im trong bao lâu, nhiều nhất 30d; 0 = chỉ dừng một lần / keep silent for so long; 0 = only once.",
        ),
    ] = "10m",
    below: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Chỉ lớp này và thấp hơn (routine, priority, emergency = cả khẩn cấp mới) / only this class and lower.",
        ),
    ] = None,
    order: Annotated[str | None, typer.Option(metavar="ID", help="Chỉ lệnh này / only this order.")] = None,
    config_file: ConfigFile = DEFAULT,
    state_dir: StateDir = None,
    sim_dir: SimDir = None,
    hardware: HardwareOption = None,
    socket_file: SocketOption = None,
    as_json: Json = False,
    lang: Lang = None,
) -> int:
    """Silence what sounds, and by default everything but new emergencies for ten minutes."""
    if below is not None and below not in {each.wire for each in Precedence}:
        raise speech.Usage("bad_class", name=below)
    if below is not None and order is not None:
        raise speech.Usage("not_both", one="--below", other="--order")
    asked = {"do": "stop", "class": below, "order": order, "for_s": _seconds(for_)}
    path = socket_file or socket_path(config_file, state_dir, sim_dir, hardware)
    return _ask(asked, path, as_json=as_json, tongue=speech.language(lang))


def release(
    stop_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[STOP]", help="Mã của lệnh dừng; không có: mọi lệnh dừng / one stop; else all."
        ),
    ] = None,
    *,
    config_file: ConfigFile = DEFAULT,
    state_dir: StateDir = None,
    sim_dir: SimDir = None,
    hardware: HardwareOption = None,
    socket_file: SocketOption = None,
    as_json: Json = False,
    lang: Lang = None,
) -> int:
    """End one sticky stop, or all."""
    path = socket_file or socket_path(config_file, state_dir, sim_dir, hardware)
    return _ask({"do": "release", "stop": stop_id}, path, as_json=as_json, tongue=speech.language(lang))


def status(
    *,
    config_file: ConfigFile = DEFAULT,
    state_dir: StateDir = None,
    sim_dir: SimDir = None,
    hardware: HardwareOption = None,
    socket_file: SocketOption = None,
    as_json: Json = False,
    lang: Lang = None,
) -> int:
    """Tell how the node is."""
    path = socket_file or socket_path(config_file, state_dir, sim_dir, hardware)
    return _ask({"do": "status"}, path, as_json=as_json, tongue=speech.language(lang))


# ---------------------------------------------------------------- the way there


def socket_path(
    config_file: Path, state_dir: Path | None, sim_dir: Path | None, hardware: str | None
) -> Path:
    """Where the daemon with this config listens; where a real one does, if the config does not tell."""
    try:
        settings = config.load(config_file, (), hardware)
    except config.ConfigInvalid:
        return RUNTIME
    directory = state_directory(state_dir, sim_dir, settings.storage.state_dir)
    return settings.local.path(real_lines=settings.hardware.gpio == "linux", state_dir=directory)


def state_directory(state_dir: Path | None, sim_dir: Path | None, configured: str) -> str:
    """Where the daemon keeps its state, which these options were given to, too."""
    return config.state_dir(
        option=None if state_dir is None else str(state_dir),
        environment=os.environ,
        sim_dir=None if sim_dir is None else str(sim_dir),
        configured=configured,
    )


def _ask(asked: dict[str, Any], path: Path, *, as_json: bool, tongue: Language) -> int:
    """Send a request and tell the answer; returns the exit code."""
    answer = answer_to(asked, path, tongue, as_json=as_json)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        _TELL[asked["do"]](answer, tongue)
    return 0


def answer_to(
    asked: dict[str, Any],
    path: Path,
    tongue: Language,
    *,
    patience_s: float = _PATIENCE_S,
    as_json: bool = False,
) -> dict[str, Any]:
    """The answer of a node that does what is asked. Raises typer.Exit when it refuses (`as_json`: its answer is
    printed as it stands) or cannot be reached; why was told then."""
    answer = reach(asked, path, tongue, patience_s=patience_s)
    if answer is None:
        raise typer.Exit(UNREACHABLE)
    if not answer["ok"]:
        if as_json:
            print(json.dumps(answer, ensure_ascii=False))
        else:
            speech.complain(catalogue.say("box_refused", tongue, reason=answer["code"], text=answer["text"]))
        raise typer.Exit(REFUSED)
    return answer


def reach(
    asked: dict[str, Any], path: Path, tongue: Language, *, patience_s: float = _PATIENCE_S
) -> dict[str, Any] | None:
    """The node's answer; None, and a complaint that says why, when nobody answers."""
    try:
        answer: dict[str, Any] = json.loads(_talk(path, json.dumps(asked).encode() + b"\n", patience_s))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "…"
        code = "box_forbidden" if isinstance(error, PermissionError) else "box_unreachable"
        speech.complain(catalogue.say(code, tongue, path=path, why=why))
        return None
    return answer


def _talk(path: Path, line: bytes, patience_s: float) -> bytes:
    """One line there, one line back. Raises OSError; ValueError when it hung up without an answer."""
    from hal.linux.control import short_path

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience_s)
        with short_path(path) as name:
            connection.connect(name)
        connection.sendall(line)
        said = b""
        while part := connection.recv(65536):
            said += part
            if len(said) > _MOST_BYTES:
                raise ValueError("the answer has no end")
    if not said.endswith(b"\n"):
        raise ValueError("no answer")
    return said


def _seconds(text: str) -> int:
    if text == "0":
        return 0
    span = posting.duration(text)
    if span is None or not 1 <= span.total_seconds() <= STOP_S_MAX:
        raise speech.Usage("bad_expires", text=text)
    return int(span.total_seconds())


# ---------------------------------------------------------------- what people read


def _tell_stop(answer: dict[str, Any], tongue: Language) -> None:
    print(catalogue.say("box_stopped", tongue, count=len(answer["orders"])))
    if answer["stop"] is not None:
        facts = {"stop": answer["stop"], "until": _until(answer["until"], tongue)}
        print(catalogue.say("box_stands", tongue, **facts))


def _tell_release(answer: dict[str, Any], tongue: Language) -> None:
    if not answer["released"]:
        print(catalogue.say("box_none_stands", tongue))
    for stop_id in answer["released"]:
        print(catalogue.say("box_released", tongue, stop=stop_id))


def _tell_status(answer: dict[str, Any], tongue: Language) -> None:
    yes, no = catalogue.say("yes", tongue), catalogue.say("no", tongue)
    quiet = {None: catalogue.say("not_known", tongue), True: yes, False: no}[answer["quiet"]]
    facts = answer | {
        "wall": answer["wall"] or catalogue.say("not_known", tongue),
        "online": yes if answer["online"] else no,
        "sounding": answer["sounding"] or no,
        "alerts": ", ".join(answer["alerts"]) or no,
        "hours": ", ".join(answer["quiet_hours"]) or no,
        "quiet": quiet,
        "used": answer["today"]["used_s"] // 60,
        "most": answer["today"]["most_s"] // 60,
        "emergency_used": answer["today_emergency"]["used_s"] // 60,
        "emergency_most": answer["today_emergency"]["most_s"] // 60,
    }
    for line in ("box_node", "box_online", "box_sounding", "box_quiet", "box_today", "box_alerts"):
        print(catalogue.say(line, tongue, **facts))
    for board in answer["boards"]:
        _tell_board(board, tongue)
    for muted in answer["muted"]:
        what = "box_muted_class" if muted["order"] is None else "box_muted_order"
        print(
            catalogue.say(
                what, tongue, **(muted | {"klass": muted["class"], "until": _until(muted["until"], tongue)})
            )
        )


def _tell_board(board: dict[str, Any], tongue: Language) -> None:
    state, grade = (
        catalogue.say(f"box_board_{board['state']}", tongue),
        catalogue.say(f"box_grade_{board['grade']}", tongue),
    )
    page = f"“{board['page']}”" if board["page"] else catalogue.say("box_board_nothing", tongue)
    print(catalogue.say("box_board", tongue, name=board["name"], state=state, page=page, grade=grade))
    for why in board["why"]:
        print(f"  {why}")
    if board["state"] == "dark":
        print("  " + catalogue.say("box_board_help", tongue, name=board["name"]))


def _until(text: str | None, tongue: Language) -> str:
    return text or catalogue.say("until_released", tongue)


_TELL: Final = {"stop": _tell_stop, "release": _tell_release, "status": _tell_status}
