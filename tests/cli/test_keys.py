"""`edge-agent keys`: from the first root to a revocation, and every document judged by the node's own rules."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from edge_agent.cli import carry_out, keyfile
from edge_agent.command import keys
from edge_agent.errors import KeysRefused

SCOPE = ("--verb", "play", "--verb", "stop", "--max-class", "priority")


@pytest.fixture(autouse=True)
def _an_empty_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_AGENT_LANG", "en")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def run(*arguments: str) -> int:
    return carry_out(["keys", *arguments])


def done(*arguments: str) -> None:
    assert run(*arguments) == 0, arguments


def document(name: str) -> keys.KeysDocument:
    return keys.opened(Path(name).read_bytes()).document


def first(*options: str, threshold: int = 1, roots: tuple[str, ...] = ("goc-1",)) -> None:
    """Version 1 in `1.dsse`, signed by its roots, with one authority and its key `xa-1`."""
    for name in roots:
        done("root", name)
    done("authority", "xa-vi-huong", "--kid", "xa-1")
    named = [word for name in roots for word in ("--root", f"{name}.pub")]
    done("make", "1.json", *named, "--root-threshold", str(threshold), "--authority", "xa-1.pub", *SCOPE, *options)  # fmt: skip
    done("sign", "1.json", *[word for name in roots for word in ("--key", f"{name}.key")])


# ---------------------------------------------------------------- keys


def test_a_private_key_is_its_owners_alone_whatever_the_umask(capsys: pytest.CaptureFixture[str]) -> None:
    before = os.umask(0)
    try:
        done("root", "goc-1")
        done("authority", "xa-vi-huong")
    finally:
        os.umask(before)
    private = sorted(path for path in Path().iterdir() if path.suffix == ".key")
    assert len(private) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    said = capsys.readouterr()
    for path in private:
        seed = keyfile.read(path).signer.seed
        for spelling in (seed.hex(), base64.b64encode(seed).decode(), path.read_text().splitlines()[1]):
            assert spelling not in said.out + said.err
    assert json.loads(Path("goc-1.pub").read_text()).keys() == {"kid", "pub"}


def test_an_authoritys_key_is_named_by_the_year_and_knows_whose_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done("authority", "xa-vi-huong")
    (path,) = Path().glob("*.key")
    assert path.stem.startswith("xa-vi-huong-20")
    capsys.readouterr()
    for name in (path, path.with_suffix(".pub")):
        done("show", str(name), "--json")
        said = json.loads(capsys.readouterr().out)
        assert said["authority"] == "xa-vi-huong"
        assert said.keys() == {"kid", "pub", "authority", "fingerprint"}


@pytest.mark.parametrize("there", ["goc-1.key", "goc-1.pub", "goc-1.seq"])
def test_nothing_is_ever_written_over(there: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(there).write_text("precious")
    assert run("root", "goc-1") == 2
    assert "never written over" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == [there]
    assert Path(there).read_text() == "precious"


@pytest.mark.parametrize("name", ["a", "Gốc", "a/b", "../a", "a b", "a\n", "x" * 65])
def test_a_key_has_a_proper_name(name: str) -> None:
    assert run("root", name) == 2
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("kind", ["open", "encrypted", "junk", "mismatch"])
def test_a_key_that_is_not_good_signs_nothing(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    done("root", "goc-1")
    done("make", "1.json", "--root", "goc-1.pub")
    path = Path("goc-1.key")
    pair = Ed25519PrivateKey.generate()
    lock = BestAvailableEncryption(b"bi-mat") if kind == "encrypted" else NoEncryption()
    if kind != "open":
        path.write_bytes(
            b"junk" if kind == "junk" else pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
        )
    else:
        path.chmod(0o640)
    assert run("sign", "1.json", "--key", "goc-1.key") == 2
    said = capsys.readouterr().err
    assert {"open": "chmod 600", "mismatch": "not a pair"}.get(kind, "no passphrase") in said
    assert not Path("1.dsse").exists()


# ---------------------------------------------------------------- documents


def test_the_first_document_is_one_that_a_node_begins_with() -> None:
    first("--group", "xa-vi-huong", "--hours", "05:00-21:30", "--tier", "xã", "--area", "VN.31.12",
          "--threshold", "emergency=2", "--days", "365")  # fmt: skip
    opened = keys.opened(Path("1.dsse").read_bytes())
    keys.begins(opened)
    whole = opened.document
    assert whole.version == 1
    assert (whole.thresholds.routine, whole.thresholds.emergency) == (1, 2)
    (authority,) = whole.authorities
    assert (authority.id, authority.tier, authority.max_class) == ("xa-vi-huong", "xã", "priority")
    assert (authority.verbs, authority.groups, authority.areas) == (
        ("play", "stop"), ("xa-vi-huong",), ("VN.31.12",),
    )  # fmt: skip
    assert authority.hours is not None
    assert (authority.hours[0].begin, authority.hours[0].to) == ("05:00", "21:30")
    assert authority.keys[0].expires - authority.keys[0].not_before == timedelta(days=365)


def test_roots_sign_one_after_the_other_and_the_signed_bytes_stay(capsys: pytest.CaptureFixture[str]) -> None:
    done("root", "goc-1")
    done("root", "goc-2")
    done("make", "1.json", "--root", "goc-1.pub", "--root", "goc-2.pub", "--root-threshold", "2")
    done("sign", "1.json", "--key", "goc-1.key")
    before = keys.opened(Path("1.dsse").read_bytes())
    with pytest.raises(KeysRefused):
        keys.begins(before)
    assert run("show", "1.dsse") == 4
    assert "signatures are lacking" in capsys.readouterr().out
    done("sign", "1.dsse", "--key", "goc-2.key")
    done("sign", "1.dsse", "--key", "goc-2.key")  # twice is once
    after = keys.opened(Path("1.dsse").read_bytes())
    keys.begins(after)
    assert after.sealed.payload == before.sealed.payload
    assert len(after.sealed.signatures) == 2
    assert run("show", "1.dsse") == 0


def test_a_second_authority_is_added_and_a_known_one_keeps_its_rights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first()
    done("authority", "huyen")
    huyen = next(path.name for path in Path().glob("huyen-*.pub"))
    done(
        "make", "2.json", "--from", "1.dsse", "--authority", huyen, "--verb", "ping", "--max-class", "routine"
    )
    done("sign", "2.json", "--key", "goc-1.key", "--previous", "1.dsse")
    keys.follows(keys.opened(Path("2.dsse").read_bytes()), document("1.dsse"))
    assert document("2.dsse").version == 2
    assert [each.id for each in document("2.dsse").authorities] == ["xa-vi-huong", "huyen"]
    done("authority", "xa-vi-huong", "--kid", "xa-2")
    done("make", "3.json", "--from", "2.dsse", "--authority", "xa-2.pub")
    (xa, _) = keysheet_authorities("3.json")
    assert [key["kid"] for key in xa["keys"]] == ["xa-1", "xa-2"]
    assert run("make", "4.json", "--from", "2.dsse", "--authority", "xa-2.pub", "--verb", "play") == 2
    assert "edit the draft" in capsys.readouterr().err


def keysheet_authorities(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(name).read_text())["authorities"]
    return found


def test_a_draft_may_be_edited_by_hand_and_what_is_wrong_in_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first()
    draft = json.loads(Path("1.json").read_text())
    draft["authorities"][0]["max_class"] = "loud"
    Path("1.json").write_text(json.dumps(draft))
    assert run("sign", "1.json", "--key", "goc-1.key", "--out", "x.dsse") == 1
    assert "$.authorities[0].max_class" in capsys.readouterr().err
    draft["authorities"][0]["max_class"] = "routine"
    Path("1.json").write_text(json.dumps(draft))
    done("sign", "1.json", "--key", "goc-1.key", "--out", "x.dsse")
    assert document("x.dsse").authorities[0].max_class == "routine"


def test_an_authoritys_key_is_rotated_with_and_without_an_overlap() -> None:
    first()
    done("authority", "xa-vi-huong", "--kid", "xa-2")
    done("rotate", "1.dsse", "xa-1", "--with", "xa-2.pub", "--out", "2.json")
    done("rotate", "1.dsse", "xa-1", "--with", "xa-2.pub", "--keep", "--out", "keep.json")
    for name, status in (("2.json", "retired"), ("keep.json", "active")):
        (authority,) = keysheet_authorities(name)
        assert [(key["kid"], key["status"]) for key in authority["keys"]] == [
            ("xa-1", status),
            ("xa-2", "active"),
        ]


def test_a_root_is_rotated_under_the_old_and_the_new(capsys: pytest.CaptureFixture[str]) -> None:
    first()
    done("root", "goc-2")
    done("rotate", "1.dsse", "goc-1", "--with", "goc-2.pub", "--out", "2.json")
    assert run("sign", "2.json", "--key", "goc-1.key", "--key", "goc-2.key") == 2, "goc-1 is no root of it"
    assert "--previous" in capsys.readouterr().err
    done("sign", "2.json", "--key", "goc-2.key")
    assert run("show", "2.dsse", "--previous", "1.dsse") == 4
    with pytest.raises(KeysRefused):
        keys.follows(keys.opened(Path("2.dsse").read_bytes()), document("1.dsse"))
    done("sign", "2.dsse", "--key", "goc-1.key", "--previous", "1.dsse")
    assert run("show", "2.dsse", "--previous", "1.dsse") == 0
    keys.follows(keys.opened(Path("2.dsse").read_bytes()), document("1.dsse"))


def test_a_revoked_key_is_named_twice_and_a_revoked_root_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    first(roots=("goc-1", "goc-2"))
    done("revoke", "1.dsse", "xa-1", "goc-2", "--out", "2.json")
    done("sign", "2.json", "--key", "goc-1.key", "--previous", "1.dsse")
    whole = document("2.dsse")
    keys.follows(keys.opened(Path("2.dsse").read_bytes()), document("1.dsse"))
    assert set(whole.revoked) == {"xa-1", "goc-2"}
    assert whole.authorities[0].keys[0].status == "revoked"
    assert [root.kid for root in whole.roots.keys] == ["goc-1"]
    assert run("revoke", "2.dsse", "goc-1", "--out", "3.json") == 2
    assert "rotate" in capsys.readouterr().err
    assert run("revoke", "2.dsse", "nobody", "--out", "3.json") == 2


def test_a_document_shows_all_it_says_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    first()
    capsys.readouterr()
    done("show", "1.dsse", "--lang", "vi")
    said = capsys.readouterr().out
    assert "Danh mục khóa, phiên bản 1" in said
    assert "Đủ chữ ký" in said
    done("show", "1.dsse")
    said = capsys.readouterr().out
    for word in ("goc-1", "xa-vi-huong", "xa-1: active", "play, stop", "Complete"):
        assert word in said
    done("show", "1.dsse", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["complete"]
    assert told["signed_by"] == ["goc-1"]
    assert msgspec.convert(told["document"], keys.KeysDocument) == document("1.dsse")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("make", "a.json"), 2),
        (("make", "a.json", "--root", "xa-1.pub", "--from", "1.dsse"), 2),
        (("make", "a.json", "--root", "nowhere.pub"), 3),
        (("make", "a.json", "--root", "1.json"), 2),
        (("make", "a.json", "--root", "goc-1.pub", "--root", "goc-1.pub"), 1),
        (("make", "a.json", "--root", "goc-1.pub", "--root-threshold", "2"), 1),
        (("make", "a.json", "--root", "goc-1.pub", "--authority", "xa-1.pub"), 2),
        (("make", "a.json", "--root", "goc-1.pub", "--authority", "goc-1.pub", *SCOPE), 2),
        (("make", "a.json", "--root", "goc-1.pub", "--authority", "xa-1.pub", *SCOPE, "--verb", "shout"), 2),
        (("make", "a.json", "--root", "goc-1.pub", "--authority", "xa-1.pub", *SCOPE, "--hours", "5-21"), 2),
        (("make", "a.json", "--root", "goc-1.pub", "--authority", "xa-1.pub", *SCOPE, "--hours", "05:00-29:00"), 1),
        (("make", "a.json", "--root", "goc-1.pub", "--threshold", "emergency=9"), 2),
        (("make", "1.json", "--root", "goc-1.pub"), 2),
        (("make", "1.dsse", "--from", "1.dsse"), 2),
        (("authority", "Xã Vị Hương"), 2),
        (("authority", "Xã", "--kid", "xa-9"), 2),
        (("make", "nowhere/a.json", "--root", "goc-1.pub"), 3),
        (("sign", "1.json", "--key", "goc-1.key"), 2),
        (("sign", "1.dsse", "--key", "xa-1.key"), 2),
        (("sign", "nowhere", "--key", "goc-1.key"), 3),
        (("rotate", "1.dsse", "goc-1", "--with", "xa-1.pub", "--out", "a.json"), 1),
        (("rotate", "1.dsse", "goc-1", "--with", "xa-1.pub", "--keep", "--out", "a.json"), 2),
        (("revoke", "1.dsse", "xa-1", "--out", "1.dsse"), 2),
        (("show", "nowhere"), 3),
        (("show", "1.json"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)  # fmt: skip
def test_what_goes_wrong_has_a_code_and_writes_nothing(arguments: tuple[str, ...], code: int) -> None:
    first()
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert run(*arguments) == code
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


# ---------------------------------------------------------------- the counter

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MS = 1_795_392_000_000


def key(name: str = "xa-1") -> keyfile.KeyFile:
    if not Path(f"{name}.key").exists():
        keyfile.make(Path(), name, "xa-vi-huong")
    return keyfile.read(Path(f"{name}.key"))


def test_a_counter_begins_with_the_time_of_day_and_never_says_a_number_twice() -> None:
    assert keyfile.next_seq([key()], NOW) == MS
    assert keyfile.next_seq([key()], NOW) == MS + 1
    assert keyfile.next_seq([key()], NOW - timedelta(days=9)) == MS + 2, "a clock that is set back"
    assert keyfile.next_seq([key()], NOW + timedelta(seconds=1)) == MS + 1000
    assert stat.S_IMODE(Path("xa-1.seq").stat().st_mode) == 0o600


def test_a_lost_or_restored_counter_goes_on_above_what_was_used() -> None:
    used = [keyfile.next_seq([key()], NOW) for _ in range(5)]
    old = Path("xa-1.seq").read_bytes()
    used += [keyfile.next_seq([key()], NOW) for _ in range(5)]
    Path("xa-1.seq").write_bytes(old)
    assert keyfile.next_seq([key()], NOW + timedelta(seconds=1)) > max(used)
    Path("xa-1.seq").unlink()
    assert keyfile.next_seq([key()], NOW + timedelta(seconds=2)) > max(used)
    Path("xa-1.seq").write_bytes(b"")
    assert keyfile.next_seq([key()], NOW + timedelta(seconds=3)) > max(used)


def test_two_keys_share_a_number_that_is_new_to_both() -> None:
    one, two = key("xa-1"), key("xa-2")
    for _ in range(3):
        keyfile.next_seq([one], NOW)
    assert keyfile.next_seq([two, one], NOW) == MS + 3
    assert keyfile.next_seq([two], NOW) == MS + 4


def test_a_damaged_counter_signs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    key()
    for text in (b"junk", b"-1", b"9" * 20, b"1 2"):
        Path("xa-1.seq").write_bytes(text)
        arguments = ("ping", "--node", "thon-3", "--broker", "mqtt://127.0.0.1:1", "--key", "xa-1.key")
        assert carry_out(["order", *arguments]) == 2
        assert "xa-1.seq" in capsys.readouterr().err
        assert Path("xa-1.seq").read_bytes() == text


def test_many_at_once_never_share_a_number() -> None:
    from concurrent.futures import ThreadPoolExecutor

    only = key()
    with ThreadPoolExecutor(8) as many:
        numbers = list(many.map(lambda _: keyfile.next_seq([only], NOW), range(60)))
    assert sorted(numbers) == list(range(MS, MS + 60))


# ---------------------------------------------------------------- the page


def test_the_page_about_keys_can_be_followed_word_for_word() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("edge-agent keys")]
    assert len(commands) > 12
    for _, *arguments in commands:
        assert carry_out(arguments) == 0, arguments
    for older in (1, 2, 3):
        newer = keys.opened(Path(f"keys-{older + 1}.dsse").read_bytes())
        keys.follows(newer, document(f"keys-{older}.dsse"))
    assert document("keys-4.dsse").revoked == ("xa-2026",)
