"""`edge-agent enrol`: a key that is made once and never leaves, and a request that asks for nothing but a name."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edge_agent.cli import carry_out, enrol

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _english_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_AGENT_LANG", "en")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert carry_out(["enrol", "--json", *arguments]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def named(csr: Path) -> list[str]:
    request = x509.load_pem_x509_csr(csr.read_bytes())
    assert request.is_signature_valid
    assert len(request.extensions) == 0
    assert len(list(request.subject)) == 1
    return [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def test_a_key_is_made_for_its_owner_alone_and_a_request_for_the_nodes_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = os.umask(0)
    try:
        said = told(capsys, "--node", "thon-1", "--key", "key.pem")
    finally:
        os.umask(before)
    assert (said["node"], said["key"], said["csr"], said["new_key"]) == (
        "thon-1",
        "key.pem",
        "thon-1.csr",
        True,
    )
    assert stat.S_IMODE(Path("key.pem").stat().st_mode) == 0o600
    key = load_pem_private_key(Path("key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert named(Path("thon-1.csr")) == ["thon-1"]
    assert said["fingerprint"] == enrol.fingerprint(key)
    assert files() == ["key.pem", "thon-1.csr"]


def test_the_name_is_that_of_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "--config", str(ROOT / "config" / "node.toml"), "--key", "key.pem")
    assert said["node"] == "thon-mau"
    assert named(Path("thon-mau.csr")) == ["thon-mau"]


def test_a_second_call_renews_with_the_same_key(capsys: pytest.CaptureFixture[str]) -> None:
    first = told(capsys, "--node", "thon-1", "--key", "key.pem")
    key = Path("key.pem").read_bytes()
    second = told(capsys, "--node", "thon-1", "--key", "key.pem", "--csr", "again.csr")
    assert not second["new_key"]
    assert second["fingerprint"] == first["fingerprint"]
    assert Path("key.pem").read_bytes() == key
    assert told(capsys, "--node", "thon-1", "--key", "key-2.pem")["fingerprint"] != first["fingerprint"]


def test_an_ed25519_key_that_is_there_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    pair = ed25519.Ed25519PrivateKey.generate()
    Path("key.pem").write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Path("key.pem").chmod(0o600)
    assert not told(capsys, "--node", "thon-1", "--key", "key.pem")["new_key"]
    assert named(Path("thon-1.csr")) == ["thon-1"]


def test_people_read_the_fingerprint_in_groups_of_four(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["enrol", "--node", "thon-1", "--key", "key.pem"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Made the private key key.pem")
    assert len(lines[-1].split()) == 16
    said = told(capsys, "--node", "thon-1", "--key", "key.pem")
    assert lines[-1].replace(" ", "") == said["fingerprint"]
    assert carry_out(["enrol", "--node", "thon-1", "--key", "key.pem", "--lang", "vi"]) == 0
    assert capsys.readouterr().out.startswith("Giữ khóa riêng đã có")


@pytest.mark.parametrize("kind", ["open", "encrypted", "junk", "cut"])
def test_a_key_that_is_not_good_is_refused_and_left_as_it_is(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ec.generate_private_key(ec.SECP256R1())
    lock = BestAvailableEncryption(b"bi-mat") if kind == "encrypted" else NoEncryption()
    text = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    text = {"junk": b"junk", "cut": text[:100]}.get(kind, text)
    Path("key.pem").write_bytes(text)
    Path("key.pem").chmod(0o640 if kind == "open" else 0o600)
    assert carry_out(["enrol", "--node", "thon-1", "--key", "key.pem"]) == 2
    said = capsys.readouterr().err
    assert ("chmod 600 key.pem" in said) is (kind == "open")
    assert "--key" in said or kind == "open"
    assert Path("key.pem").read_bytes() == text
    assert not Path("thon-1.csr").exists()


def test_a_node_without_a_proper_name_gets_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Thon-1", "a", "thon/1", "thon+1", "thon-1\n", "x" * 41):
        assert carry_out(["enrol", "--node", name, "--key", "key.pem"]) == 2, name
        assert "does not have the right form" in capsys.readouterr().err
    assert files() == []


def test_a_config_with_problems_says_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["enrol", "--config", "nowhere.toml", "--key", "key.pem"]) == 1
    assert "nowhere.toml" in capsys.readouterr().err
    assert files() == []


def test_a_place_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["enrol", "--node", "thon-1", "--key", "nowhere/key.pem"]) == 3
    assert "nowhere/key.pem cannot be read or written" in capsys.readouterr().err
    assert carry_out(["enrol", "--node", "thon-1", "--key", "key.pem", "--csr", "nowhere/a.csr"]) == 3
    assert "nowhere/a.csr cannot be read or written" in capsys.readouterr().err


def test_two_at_once_make_one_key() -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            enrol.make_key(Path("key.pem"))
        except FileExistsError:
            outcomes.append("there already")
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("made") == 1
    enrol.read_key(Path("key.pem"))
    assert files() == ["key.pem"]


def test_what_it_makes_is_what_the_daemon_and_systemd_look_for() -> None:
    unit = (ROOT / "systemd" / "edge-agent.service").read_text(encoding="utf-8")
    (credentials,) = [line for line in unit.splitlines() if line.startswith("LoadCredential=")]
    prefix, _, directory = credentials.removeprefix("LoadCredential=").partition(":")
    assert enrol.KEY.parent == Path(directory)
    config = (ROOT / "config" / "node.toml").read_text(encoding="utf-8").replace("\n#", "\n")
    handed_over = f"/run/credentials/edge-agent.service/{prefix}_"
    assert f'key_file = "{handed_over}{enrol.KEY.name}"' in config
    assert f'cert_file = "{handed_over}cert.pem"' in config
    assert f'password_file = "{handed_over}password"' in config
    assert str(enrol.CONFIG) in unit
