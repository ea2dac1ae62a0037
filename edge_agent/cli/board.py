"""`edge-agent board preview|models|test|release`: what a board would show, what it can, and whether it does.

Exit codes: 0 done; 1 it cannot be shown, or the board has failed; 2 wrong usage; 3 a file cannot be read or written.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from edge_agent import catalogue, config
from edge_agent.catalogue import Language
from edge_agent.cli import box, speech
from edge_agent.config import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.board.page import Page
    from edge_agent.board.picture import Picture
    from edge_agent.board.settings import BoardSettings

FAILED: Final = 1
UNREADABLE: Final = 3
SCALE_DEFAULT: Final = 8
RELEASE_S: Final = 10.0
HELP: Final = "Bảng tin / notice boards. 0 xong/done; 1 không hiện được hay bảng hỏng/cannot be shown, or the board has failed."

Model = Annotated[str, typer.Option("--model", help="Mẫu bảng / model, see `board models`.")]
Width = Annotated[int | None, typer.Option(min=16, max=4096, help="Bề ngang, điểm / dots.")]
Height = Annotated[int | None, typer.Option(min=16, max=4096, help="Bề cao, điểm / dots.")]


def register(app: typer.Typer) -> None:
    """Add the verbs below `board`."""
    board = typer.Typer(help=HELP, no_args_is_help=True)
    app.add_typer(board, name="board")
    board.command("preview", help="Vẽ đúng từng điểm ra PNG / the exact dots as PNG.")(preview)
    board.command("models", help="Các mẫu bảng / the board models that there are.")(models_)
    board.command("test", help="Thử bảng, từng bước / test a board, step by step.")(try_)
    board.command("release", help="Bỏ tin khẩn cấp, để tối / release a takeover and go dark.")(release)


# ---------------------------------------------------------------- preview


def preview(
    text: Annotated[str | None, typer.Argument(help="Câu chữ / the text.")] = None,
    *,
    model: Model = "commune-p10",
    columns: Width = None,
    rows: Height = None,
    colours: Annotated[str | None, typer.Option(help="mono, red_green, rgb, full")] = None,
    letters: Annotated[int | None, typer.Option(help="Cỡ chữ, điểm / height of a line, dots.")] = None,
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Như tin khẩn cấp / as an emergency.")
    ] = False,
    image: Annotated[Path | None, typer.Option(help="Tệp ảnh / a picture file.")] = None,
    qr: Annotated[str | None, typer.Option(help="Nội dung mã QR / what a QR code says.")] = None,
    clock: Annotated[bool, typer.Option("--clock", help="Trang giờ / the clock page.")] = False,
    caption: Annotated[str, typer.Option(help="Chú thích / a caption.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="Tệp PNG / the PNG file.")] = Path(
        "page.png"
    ),
    leds: Annotated[bool, typer.Option("--leds", help="Vẽ bóng LED tròn / draw round LEDs.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Hiện cả ở đây / also here.")] = False,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Draw what a board would show; further pages go to page-2.png and so on."""
    from edge_agent.errors import TextRefused

    tongue = speech.language(lang)
    overrides = {"columns": columns, "rows": rows, "colours": colours, "letters": letters}
    settings = _of_model(model, {key: value for key, value in overrides.items() if value is not None}, tongue)
    try:
        pages = _pages(settings, text, emergency=emergency, image=image, qr=qr, clock=clock, caption=caption)
    except TextRefused as refused:
        if as_json:
            print(json.dumps({"ok": False, "code": refused.code, "text": refused.text}, ensure_ascii=False))
        else:
            speech.complain(catalogue.say("board_refused", tongue, text=refused.text))
        return FAILED
    told = []
    for number, page in enumerate(pages, start=1):
        path = output if number == 1 else output.with_name(f"{output.stem}-{number}{output.suffix}")
        try:
            path.write_bytes(_png(page.picture, leds=leds))
        except OSError as error:
            speech.complain(catalogue.say("board_unwritable", tongue, path=path, why=error.strerror or error))
            return UNREADABLE
        facts = {
            "page": number,
            "pages": len(pages),
            "text": page.text,
            "seconds": round(page.dwell_s, 1),
            "percent": round(page.picture.load_percent, 1),
            "path": str(path),
            "digest": page.picture.digest,
        }
        told.append(facts)
        if not as_json:
            print(catalogue.say("board_page", tongue, **facts))
            if show:
                print(_half_blocks(page.picture))
    if as_json:
        print(json.dumps({"ok": True, "pages": told}, ensure_ascii=False))
    return 0


def _pages(
    settings: BoardSettings,
    text: str | None,
    *,
    emergency: bool,
    image: Path | None,
    qr: str | None,
    clock: bool,
    caption: str,
) -> Sequence[Page]:
    """The pages of the one content that is asked for. Raises TextRefused, Usage."""
    from edge_agent.board import spelling
    from edge_agent.board.drawing import ClockJob, DrawingTable, ImageJob, Job, QrJob, TextJob
    from edge_agent.model import LOCAL_TIME, Digest
    from hal.linux.clock import SystemClock

    jobs: list[Job] = []
    if text is not None:
        jobs.append(TextJob(text=spelling.clean(text), emergency=emergency))
    if image is not None:
        try:
            blob = image.read_bytes()
        except OSError as error:
            raise speech.Usage("board_bad_file", path=image, why=error.strerror or error) from None
        digest = Digest(f"sha256:{hashlib.sha256(blob).hexdigest()}")
        jobs.append(ImageJob(digest=digest, blob=blob, caption=caption))
    if qr is not None:
        jobs.append(QrJob(text=qr, caption=caption))
    if clock:
        local = SystemClock(always_synced=True).utc_now().astimezone(LOCAL_TIME)
        jobs.append(ClockJob(local=local, place=caption))
    if len(jobs) != 1:
        raise speech.Usage("board_no_content")
    return DrawingTable(settings).draw_now(jobs[0])


def _png(picture: Picture, *, leds: bool) -> bytes:
    """The dots, each a square of some pixels, or a round LED."""
    import io

    from PIL import Image

    from edge_agent.board.picture import GREEN, RED, Colours

    if leds and picture.colours is not Colours.FULL:
        from hal.sim.picture import png

        return png(tuple(picture.row(y) for y in range(picture.height)))
    if picture.colours is Colours.FULL:
        pixels = picture.cells
    else:
        mono = picture.colours is Colours.MONO
        inks = [
            bytes((255 * bool(code & RED), 255 * bool(code & GREEN), 255 * bool(code & 4)))
            for code in range(8)
        ]
        pixels = b"".join(inks[1 if mono and cell else cell] for cell in picture.cells)
    image = Image.frombytes("RGB", (picture.width, picture.height), pixels)
    scale = max(1, min(SCALE_DEFAULT, 2048 // picture.width))
    file = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _half_blocks(picture: Picture) -> str:
    from hal.sim.picture import half_blocks

    stride = picture.colours.bytes_a_dot
    rows = tuple(picture.row(y)[::stride] for y in range(picture.height))
    return half_blocks(rows)


def models_(*, as_json: box.Json = False, lang: box.Lang = None) -> int:
    """List the models that there are."""
    tongue = speech.language(lang)
    code = 0
    for name in models.names():
        try:
            settings = _of_model(name, {}, tongue)
        except speech.Usage as wrong:  # one bad file hides no other
            speech.complain(catalogue.say(wrong.code, tongue, **wrong.facts))
            code = FAILED
            continue
        facts = {key: getattr(settings, key) for key in ("protocol", "columns", "rows")}
        facts |= {"name": name, "colours": str(settings.colours)}
        print(json.dumps(facts) if as_json else catalogue.say("board_model_line", tongue, **facts))
    return code


def _of_model(model: str, overrides: dict[str, Any], tongue: Language) -> BoardSettings:
    """A model's settings with some of them changed. Raises Usage."""
    from edge_agent.board.settings import BoardSettings

    if model not in models.names():
        raise speech.Usage("board_no_model", name=model, known=", ".join(models.names()))
    try:
        settings = msgspec.convert({**models.read(model), **overrides}, BoardSettings)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise speech.Usage("board_bad_model", name=model, why=error) from None
    for key, code, facts in settings.problems():
        details = {name: str(fact) for name, fact in facts.items()}
        problem = config.Problem(code=code, key=key, details=details)
        raise speech.Usage("board_bad_model", name=model, why=speech.on_one_line(problem, tongue))
    return settings


# ---------------------------------------------------------------- on the board itself


def try_(
    name: Annotated[str, typer.Argument(help="Tên bảng trong cấu hình / the board's name.")] = "main",
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    model: Annotated[
        str | None, typer.Option("--model", help="Không cần cấu hình / without a config.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Cổng / the port.")] = None,
    step_s: Annotated[float, typer.Option("--seconds", min=0, max=60, help="Mỗi bước / each step.")] = 4.0,
    lang: box.Lang = None,
) -> int:
    """Show pictures by which somebody in front of the board can tell what is wrong, and tell what the board says."""
    tongue = speech.language(lang)
    if model is not None:
        settings = _of_model(model, {} if device is None else {"device": device}, tongue)
        name = model
    else:
        settings = _of_config(config_file, name)
        if device is not None:
            settings = msgspec.structs.replace(settings, device=device)
    from edge_agent.cli.board_test import Trial

    return asyncio.run(Trial(name, settings, step_s=step_s, tongue=tongue).run())


def release(
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    after_stop: Annotated[
        bool, typer.Option("--after-stop", help="Chỉ khi nút dừng hẳn / only when the service stays stopped.")
    ] = False,
    lang: box.Lang = None,
) -> int:
    """What stands on the boards is released, and they go dark: nobody is there any more who would take it down.

    With `--after-stop` (ExecStopPost of the unit) this is done only when systemd says that the service ended as it was told
    to: after a crash it comes back in seconds, and an alert must not blink.
    """
    tongue = speech.language(lang)
    if after_stop and os.environ.get("SERVICE_RESULT", "success") != "success":
        return 0
    settings = _loaded(config_file)
    if settings.hardware.board != "linux":
        return 0
    from edge_agent.cli.board_test import handed_back, released

    code = 0
    for name, board in settings.every_board().items():
        if board.protocol == "screen":
            continue  # closing it has put back what was there
        if board.requisitioned:
            state_dir = config.state_dir(
                option=None, environment=os.environ, sim_dir=None, configured=settings.storage.state_dir
            )
            done = asyncio.run(handed_back(name, board, state_dir, within_s=RELEASE_S))
            if done is None:
                continue  # it is not in our hands
            fault = done or None
        else:
            fault = asyncio.run(released(board, within_s=RELEASE_S))
        sentence = "board_released" if fault is None else "board_not_released"
        speech.complain(catalogue.say(sentence, tongue, name=name, text=fault))
        code = code if fault is None else FAILED
    return code


def _loaded(config_file: Path) -> config.Settings:
    try:
        return config.load(config_file)
    except config.ConfigInvalid as invalid:
        first = speech.on_one_line(invalid.problems[0], Language.EN)
        raise speech.Usage("board_bad_file", path=config_file, why=first) from None


def _of_config(config_file: Path, name: str) -> BoardSettings:
    boards = _loaded(config_file).every_board()
    if name not in boards:
        raise speech.Usage("board_no_board", name=name, known=", ".join(boards) or "-")
    return boards[name]
