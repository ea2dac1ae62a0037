"""`edge-agent cache list|verify|collect|import`: the files of the node at the box.

Exit codes: 0 done; 1 the node refused, or a file is spoilt; 2 wrong usage; 3 the node cannot be reached.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_agent import catalogue, config
from edge_agent.catalogue import Language
from edge_agent.cli import box, speech

_MIB: Final = 1 << 20
_PAGE: Final = 300
_LONG_S: Final = 3600.0
"""A large file on a slow card takes minutes to hash."""
HELP: Final = (
    "Kho tệp của nút / the node's files. 0 xong/done; 1 bị từ chối hoặc có tệp hỏng/refused, or a file is spoilt; "
    "3 không tới được nút/node cannot be reached."
)


def register(app: typer.Typer) -> None:
    """Add the verbs below `cache`."""
    cache = typer.Typer(help=HELP, no_args_is_help=True)
    app.add_typer(cache, name="cache")
    cache.command("list", help="Xem các tệp / what is here, and what is missing.")(list_)
    cache.command("verify", help="Kiểm tra từng tệp / hash every file once more.")(verify)
    cache.command("collect", help="Xóa tệp không ai cần / remove what nobody wants.")(collect)
    cache.command("import", help="Nhận tệp từ USB / take signed documents and files from a stick.")(import_)


def list_(
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Tell every file, wanted or held."""
    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    last: dict[str, Any] = {}
    count = size = 0
    for answer in _pages(path, tongue):
        last = answer
        for asset in answer["assets"]:
            count += asset["held"]
            size += asset["size"] or 0
            print(json.dumps(asset, ensure_ascii=False) if as_json else _line(asset, tongue))
    if not as_json:
        facts = {"count": count, "mib": f"{size / _MIB:.1f}", "missing": last.get("missing", 0)}
        print(catalogue.say("cache_sum", tongue, **facts))
        if last.get("surplus_mib"):
            print(catalogue.say("cache_surplus", tongue, mib=last["surplus_mib"]))
    return 0


def verify(
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Hash every file that is here; a spoilt one is taken away, and fetched anew if somebody wants it."""
    from rich.progress import Progress

    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    held: list[str] = []
    for answer in _pages(path, tongue):
        held += [asset["media"] for asset in answer["assets"] if asset["held"]]
    spoilt: list[dict[str, str]] = []
    with Progress(disable=as_json, transient=True) as progress:
        for media in progress.track(held, description=catalogue.say("cache_verifying", tongue)):
            verdict = box.answer_to({"do": "verify", "media": media}, path, tongue, patience_s=_LONG_S)
            if verdict["fault"] is not None:
                spoilt.append({"media": media, "fault": verdict["fault"]})
    if as_json:
        print(json.dumps({"ok": not spoilt, "verified": len(held), "spoilt": spoilt}, ensure_ascii=False))
    else:
        for one in spoilt:
            print(catalogue.say("cache_spoilt", tongue, **one))
        print(catalogue.say("cache_verified", tongue, count=len(held), spoilt=len(spoilt)))
    return box.REFUSED if spoilt else 0


def collect(
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Remove every file that no document wants and nobody uses."""
    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    answer = box.answer_to({"do": "collect"}, path, tongue, patience_s=_LONG_S, as_json=as_json)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        facts = {"count": answer["removed"], "mib": f"{answer['bytes'] / _MIB:.1f}"}
        print(catalogue.say("cache_collected", tongue, **facts))
    return 0


def import_(
    stick: Annotated[Path, typer.Argument(metavar="DIR", help="Thư mục trên USB / the stick's directory.")],
    *,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Copy what lies on the stick into the node's import directory, and have it taken."""
    from rich.progress import Progress

    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    try:
        files = [file for file in sorted(stick.iterdir()) if file.is_file() and not file.name.startswith(".")]
        target = _import_dir(config_file, state_dir, sim_dir, hardware)
        target.mkdir(exist_ok=True)
        with Progress(disable=as_json, transient=True) as progress:
            for file in progress.track(files, description=catalogue.say("cache_copying", tongue)):
                shutil.copyfile(file, target / file.name)
                (target / file.name).chmod(0o644)
    except OSError as error:
        facts = {"path": error.filename or stick, "why": error.strerror or str(error)}
        raise speech.Usage("file_unreadable", **facts) from None
    answer = box.answer_to({"do": "import"}, path, tongue, patience_s=_LONG_S, as_json=as_json)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    for one in answer["files"]:
        print(catalogue.say(f"import_{one['done']}", tongue, **one))
    return box.REFUSED if any(one["done"] == "refused" for one in answer["files"]) else 0


def _import_dir(
    config_file: Path, state_dir: Path | None, sim_dir: Path | None, hardware: str | None
) -> Path:
    """Where the daemon with this config looks."""
    from edge_agent.config.last_good import STATE_DIR

    try:
        configured = config.load(config_file, (), hardware).storage.state_dir
    except config.ConfigInvalid:
        configured = STATE_DIR
    return Path(box.state_directory(state_dir, sim_dir, configured), "import")


def _pages(path: Path, tongue: Language) -> Iterator[dict[str, Any]]:
    """Every page of the cellar."""
    after = ""
    while True:
        answer = box.answer_to({"do": "assets", "after": after, "limit": _PAGE}, path, tongue)
        yield answer
        if len(answer["assets"]) < _PAGE:
            return
        after = answer["assets"][-1]["media"]


def _line(asset: dict[str, Any], tongue: Language) -> str:
    state = "spoilt" if asset["quarantined"] else "held" if asset["held"] else "missing"
    size = "" if asset["size"] is None else f"{asset['size'] / _MIB:.2f} MiB"
    words = [catalogue.say(f"cache_{state}_word", tongue)]
    words += [catalogue.say("cache_wanted_word", tongue)] if asset["wanted"] else []
    return f"{asset['media'][:23]}… {size:>12}  {', '.join(words)}"
