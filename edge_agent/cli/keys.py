"""`edge-agent keys`: the keys of roots and authorities, and the document that makes them known to nodes.

    root, authority    make a key pair
    make               draft a document, or add an authority's key to one
    rotate, revoke     draft the next version of one
    sign               sign a draft, or add a signature to a document
    show               read a key or a document, and say whether nodes would take it

Roots are kept on a computer without network: drafts and documents go there and back on a stick. A
private key is made once (mode 0600), never written over and never printed.

Exit codes: 0 done; 1 the document is malformed; 2 wrong usage, or a key that cannot be used;
3 a file cannot be read or written; 4 (`show` only) the document lacks signatures: no node would take it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import keyfile, keysheet, speech
from edge_agent.cli.keyfile import Public
from edge_agent.cli.keysheet import Sheet, Validity
from edge_agent.command.keys import AUTHORITY_PATTERN, KeysDocument, Roots
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.time_answer import VERB
from edge_agent.desired import Doc
from edge_agent.errors import KeysRefused

MALFORMED: Final = 1
NO_FILE: Final = 3
UNSIGNED: Final = 4

HELP: Final = (
    "Khóa ký lệnh và danh mục khóa / keys that sign orders, and the keys document. "
    "0 xong/done; 1 danh mục sai/malformed; 2 dùng sai/usage; 3 lỗi tệp/file; 4 thiếu chữ ký/lacks signatures (show)."
)
_MAY: Final = (*ARGS_OF_VERB, *(doc.value for doc in Doc), VERB)
"""What an authority's `verbs` may name: orders, desired documents, the time."""
_CLASSES: Final = ("routine", "priority", "emergency")

_Lang = Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")]
_Dir = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Nơi ghi khóa / where the key is written.")]
_Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Bản nháp mới / the new draft.")]
_Days = Annotated[
    int, typer.Option(min=1, max=3660, help="Khóa mới có hạn bao nhiêu ngày / days that a new key is valid.")
]


def register(app: typer.Typer) -> None:
    """Add the verb and the verbs below it."""
    keys = typer.Typer(help=HELP, no_args_is_help=False)
    app.add_typer(keys, name="keys")
    for command, text in (
        (root, "Tạo khóa gốc / make a root key (keep it offline)."),
        (authority, "Tạo khóa của một cơ quan / make an authority's key."),
        (make, "Soạn danh mục khóa, thêm cơ quan / draft a keys document, add an authority's key."),
        (sign, "Ký danh mục bằng khóa gốc / sign a keys document with root keys."),
        (rotate, "Thay một khóa / draft the next version with a new key in place of another."),
        (revoke, "Thu hồi khóa / draft the next version with keys revoked."),
        (show, "Xem khóa hoặc danh mục / show a key or a keys document."),
    ):
        keys.command(command.__name__, help=text)(_guarded(command))


def root(
    kid: Annotated[str, typer.Argument(metavar="NAME", help="Tên khóa / the key's name.")],
    *,
    directory: _Dir = Path(),
    lang: _Lang = None,
) -> int:
    """Make a root key."""
    return _made(keyfile.make(directory, kid), directory, lang)


def authority(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Mã cơ quan (iss) / the authority's id.")],
    *,
    kid: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tên khóa / the key's name (ID-YEAR).")
    ] = None,
    directory: _Dir = Path(),
    lang: _Lang = None,
) -> int:
    """Make an authority's key; its public file says whose it is."""
    if re.search(AUTHORITY_PATTERN, ident) is None:
        raise speech.Usage("bad_authority", name=ident)
    name = kid or f"{ident}-{_now():%Y}"
    return _made(keyfile.make(directory, name, ident), directory, lang)


def make(
    out: Annotated[Path, typer.Argument(metavar="DRAFT", help="Bản nháp / the draft to write (JSON).")],
    *,
    roots: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="PUB", help="Khóa gốc; lặp lại được / a root; may be repeated."),
    ] = None,
    root_threshold: Annotated[
        int, typer.Option(min=1, max=8, help="Cần mấy khóa gốc ký / how many roots must sign.")
    ] = 1,
    origin: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Danh mục hoặc nháp đã có / go on from this one."),
    ] = None,
    authorities: Annotated[
        list[Path] | None,
        typer.Option("--authority", metavar="PUB", help="Khóa của cơ quan / an authority's key; repeatable."),
    ] = None,
    ident: Annotated[
        str | None, typer.Option("--id", help="Mã cơ quan, nếu tệp khóa không ghi / whose key it is.")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="Cấp, chỉ để đọc / a label for people.")] = None,
    verb: Annotated[
        list[str] | None, typer.Option(help="Được ra lệnh gì / what it may order; repeatable.")
    ] = None,
    max_class: Annotated[str | None, typer.Option(help="routine | priority | emergency")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Nhóm nút được gọi; bỏ trống = mọi nút / groups (any).")
    ] = None,
    area: Annotated[list[str] | None, typer.Option(help="Mã địa bàn cảnh báo / geocode for alerts.")] = None,
    hours: Annotated[
        list[str] | None, typer.Option(metavar="05:00-21:30", help="Giờ được phát / hours (any).")
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(metavar="CLASS=N", help="Lớp này cần N chữ ký / signatures needed.")
    ] = None,
    days: _Days = 730,
    lang: _Lang = None,
) -> int:
    """Draft a document, or add to one."""
    now = _now()
    if (origin is None) == (not roots):
        raise speech.Usage("roots_or_from")
    sheet = None if origin is None else _sheet(origin)
    if sheet is not None:
        document = keysheet.next_of(sheet, now)
    else:
        document = keysheet.begin(
            [keyfile.read_public(path) for path in roots or ()], threshold=root_threshold, now=now
        )
    document = _with_thresholds(document, threshold or ())
    rights = _rights(tier=tier, verb=verb, max_class=max_class, group=group, area=area, hours=hours)
    known = {each.id for each in document.authorities}
    for path in authorities or ():
        public = keyfile.read_public(path)
        whose = ident or public.authority
        if whose is None:
            raise speech.Usage("whose_key", path=path)
        own = {} if whose in {each.id for each in document.authorities} - known else rights
        document = keysheet.admit(document, whose, public, own, _validity(now, days))
    return _drafted(document, out, lang, over=None if sheet is None or sheet.signed else origin)


def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bản nháp hoặc danh mục / draft or document.")],
    *,
    key: Annotated[
        list[Path], typer.Option(metavar="FILE", help="Khóa gốc; lặp lại được / root; repeatable.")
    ],
    previous: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Danh mục đang dùng / the document now in force.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Danh mục đã ký / the signed document (FILE.dsse).")
    ] = None,
    lang: _Lang = None,
) -> int:
    """Sign; whoever is no root, now or before, is refused."""
    sheet, before = _sheet(file), None if previous is None else _sheet(previous)
    held = [keyfile.read(path) for path in key]
    known = {each.kid: each.pub for whole in (sheet, before) if whole for each in whole.document.roots.keys}
    for each in held:
        if known.get(each.signer.kid) != each.public.pub:
            raise speech.Usage("no_root", name=each.signer.kid)
    place = out or (file if sheet.signed else file.with_suffix(".dsse"))
    blob = keysheet.sign(sheet, [each.signer for each in held])
    _write(place, blob, over=file if sheet.signed else None)
    signed = keysheet.read(blob)
    tongue = speech.language(lang)
    print(catalogue.say("keys_signed", tongue, path=place, version=signed.document.version))
    _tell_signatures(signed, before, tongue)
    return 0


def rotate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Danh mục hoặc nháp / document or draft.")],
    kid: Annotated[str, typer.Argument(metavar="NAME", help="Khóa cũ / the old key.")],
    *,
    successor: Annotated[Path, typer.Option("--with", metavar="PUB", help="Khóa mới / the new key.")],
    out: _Out,
    keep: Annotated[
        bool, typer.Option("--keep", help="Khóa cũ còn dùng đến hết hạn / the old one stays active, too.")
    ] = False,
    days: _Days = 730,
    lang: _Lang = None,
) -> int:
    """Draft the next version with a new key."""
    now, sheet = _now(), _sheet(file)
    document = keysheet.rotate(
        keysheet.next_of(sheet, now), kid, keyfile.read_public(successor), _validity(now, days), keep=keep
    )
    return _drafted(document, out, lang, over=None if sheet.signed else file)


def revoke(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Danh mục hoặc nháp / document or draft.")],
    kid: Annotated[list[str], typer.Argument(metavar="NAME...", help="Khóa bị thu hồi / keys to revoke.")],
    *,
    out: _Out,
    lang: _Lang = None,
) -> int:
    """Draft the next version with these keys revoked."""
    sheet = _sheet(file)
    document = keysheet.revoke(keysheet.next_of(sheet, _now()), kid)
    return _drafted(document, out, lang, over=None if sheet.signed else file)


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Khóa, nháp hoặc danh mục / key or document.")],
    *,
    previous: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Danh mục đang dùng / the document now in force.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Một đối tượng JSON / one JSON object.")] = False,
    lang: _Lang = None,
) -> int:
    """Show a key's public half, or a document and its signatures."""
    tongue = speech.language(lang)
    if file.suffix in {keyfile.SUFFIX, ".pub"}:
        public = keyfile.read_public(file) if file.suffix == ".pub" else keyfile.read(file).public
        _tell_key(public, tongue, as_json=as_json)
        return 0
    sheet, before = _sheet(file), None if previous is None else _sheet(previous)
    good = keysheet.enough(sheet, before)
    if as_json:
        told: dict[str, Any] = {
            "version": sheet.document.version,
            "hash": sheet.opened.digest if sheet.signed else None,
            "signed_by": list(keysheet.signed_by(sheet, sheet.document.roots)),
            "complete": good,
            "document": json.loads(keysheet.draft(sheet.document)),
        }
        print(json.dumps(told, ensure_ascii=False))
        return 0 if good else UNSIGNED
    _tell_document(sheet.document, tongue)
    _tell_signatures(sheet, before, tongue)
    return 0 if good else UNSIGNED


# ---------------------------------------------------------------- options -> values


def _rights(*, hours: list[str] | None, max_class: str | None, **lists: Any) -> dict[str, Any]:
    """What was said of a new authority's rights."""
    if max_class is not None and max_class not in _CLASSES:
        raise speech.Usage("bad_class", name=max_class)
    for name in lists["verb"] or ():
        if name not in _MAY:
            raise speech.Usage("bad_verb", name=name, known=", ".join(_MAY))
    spans = []
    for text in hours or ():
        found = re.fullmatch(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})", text)
        if found is None:
            raise speech.Usage("bad_hours", text=text)
        spans.append({"from": found[1], "to": found[2]})
    said = {
        "tier": lists["tier"],
        "verbs": lists["verb"],
        "max_class": max_class,
        "groups": lists["group"],
        "areas": lists["area"],
        "hours": spans,
    }
    return {name: value for name, value in said.items() if value}


def _with_thresholds(document: KeysDocument, wanted: Sequence[str]) -> KeysDocument:
    from msgspec.structs import replace

    thresholds = document.thresholds
    for text in wanted:
        found = re.fullmatch(r"(routine|priority|emergency)=([1-8])", text)
        if found is None:
            raise speech.Usage("bad_threshold", text=text)
        thresholds = replace(thresholds, **{found[1]: int(found[2])})
    return replace(document, thresholds=thresholds)


def _validity(now: datetime, days: int) -> Validity:
    return Validity(not_before=now, expires=now + timedelta(days=days))


def _now() -> datetime:
    from hal.linux.clock import SystemClock

    return SystemClock(always_synced=True).utc_now().replace(microsecond=0)


# ---------------------------------------------------------------- files, and what is said


def _sheet(path: Path) -> Sheet:
    return keysheet.read(path.read_bytes())


def _write(place: Path, blob: bytes, *, over: Path | None) -> None:
    """Write a document; only the one that it comes from is written over."""
    if over is not None and place.exists() and place.samefile(over):
        keyfile.replace(place, blob)
        return
    try:
        keyfile.write_once(place, blob, mode=0o644)
    except FileExistsError:
        raise speech.Usage("file_exists", path=place) from None


def _made(public: Public, directory: Path, lang: Language | None) -> int:
    facts = {"key": directory / f"{public.kid}.key", "pub": directory / f"{public.kid}.pub"}
    spaced = " ".join(re.findall(".{4}", keyfile.fingerprint(public.pub)))
    print(catalogue.say("keys_made", speech.language(lang), fingerprint=spaced, **facts))
    return 0


def _drafted(document: KeysDocument, out: Path, lang: Language | None, *, over: Path | None) -> int:
    """Write a draft once it is known to be well formed."""
    blob = keysheet.draft(document)
    keysheet.read(blob)
    _write(out, blob, over=over)
    facts = {"path": out, "version": document.version, "roots": _names(document.roots)}
    print(catalogue.say("keys_drafted", speech.language(lang), **facts))
    return 0


def _tell_key(public: Public, tongue: Language, *, as_json: bool) -> None:
    printed = keyfile.fingerprint(public.pub)
    if as_json:
        print(
            json.dumps(
                {"kid": public.kid, "pub": public.pub, "authority": public.authority, "fingerprint": printed}
            )
        )
        return
    facts = {"name": public.kid, "authority": public.authority or "-", "pub": public.pub}
    spaced = " ".join(re.findall(".{4}", printed))
    print(catalogue.say("keys_key", tongue, fingerprint=spaced, **facts))


def _tell_document(document: KeysDocument, tongue: Language) -> None:
    per = ", ".join(f"{name} {document.thresholds.of(name)}" for name in _CLASSES)
    facts = {"version": document.version, "issued": f"{document.issued:%Y-%m-%d %H:%M %Z}", "thresholds": per}
    print(catalogue.say("keys_document", tongue, **facts))
    roots = {"count": document.roots.threshold, "roots": _names(document.roots)}
    print(catalogue.say("keys_roots", tongue, **roots))
    everything = catalogue.say("keys_all", tongue)
    for each in document.authorities:
        spans = ", ".join(f"{part.begin}-{part.to}" for part in each.hours or ())
        scope = {
            "name": each.id,
            "tier": each.tier or "-",
            "verbs": ", ".join(each.verbs) or "-",
            "klass": each.max_class,
            "groups": everything if each.groups is None else ", ".join(each.groups) or "-",
            "hours": everything if each.hours is None else spans or "-",
            "areas": ", ".join(each.areas) or "-",
        }
        print(catalogue.say("keys_authority", tongue, **scope))
        for key in each.keys:
            status = "revoked" if key.kid in document.revoked else key.status
            dates = {"begin": f"{key.not_before:%Y-%m-%d}", "end": f"{key.expires:%Y-%m-%d}"}
            print(catalogue.say("keys_line", tongue, name=key.kid, status=status, **dates))
    if document.revoked:
        print(catalogue.say("keys_revoked", tongue, names=", ".join(document.revoked)))


def _tell_signatures(sheet: Sheet, before: Sheet | None, tongue: Language) -> None:
    for whole in (sheet, before):
        if whole is None:
            continue
        roots = whole.document.roots
        signed = keysheet.signed_by(sheet, roots)
        facts = {"version": whole.document.version, "count": len(signed), "most": roots.threshold}
        print(catalogue.say("keys_count", tongue, names=", ".join(signed) or "-", **facts))
    verdict = "keys_complete" if keysheet.enough(sheet, before) else "keys_incomplete"
    print(catalogue.say(verdict, tongue))


def _names(roots: Roots) -> str:
    return ", ".join(each.kid for each in roots.keys)


def _guarded(command: Any) -> Any:
    """The command, with files and documents that fail told in a sentence and a code."""
    import functools

    @functools.wraps(command)
    def carried_out(**given: Any) -> int:
        tongue = speech.language(given.get("lang"))
        try:
            return int(command(**given))
        except KeysRefused as refusal:
            for fault in refusal.faults:
                facts = {"path": fault.path, "text": fault.message}
                speech.complain(catalogue.say("keys_fault", tongue, **facts))
            return MALFORMED
        except OSError as error:
            facts = {"path": error.filename or "-", "why": error.strerror or str(error)}
            speech.complain(catalogue.say("keys_file", tongue, **facts))
            return NO_FILE

    return carried_out
