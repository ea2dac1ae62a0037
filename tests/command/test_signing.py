"""A signature holds for exactly the bytes it was made for; checked against published vectors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_agent.command.signing import Signer, pae, public_of, sign, verify

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_the_encoding_is_the_one_of_dsse() -> None:
    """The example of secure-systems-lab/dsse, protocol.md."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("loa/đài", b"") == "DSSEv1 9 loa/đài 0 ".encode(), "lengths count bytes"


def test_the_public_half_is_that_of_rfc_8032() -> None:
    """RFC 8032, section 7.1, test 1."""
    assert public_of(SEED) == PUBLIC


def test_a_signature_holds_for_its_type_its_bytes_and_its_key() -> None:
    signature = sign(SEED, "a", b"b")
    assert verify(PUBLIC, "a", b"b", signature)
    assert not verify(PUBLIC, "a", b"c", signature)
    assert not verify(PUBLIC, "c", b"b", signature)
    assert not verify(public_of(bytes(32)), "a", b"b", signature)


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_no_other_signature_holds(bit: int) -> None:
    signature = bytearray(sign(SEED, "a", b"b"))
    signature[bit // 8] ^= 1 << bit % 8
    assert not verify(PUBLIC, "a", b"b", bytes(signature))


def test_a_signature_cannot_be_rewritten_by_adding_the_group_order() -> None:
    """RFC 8032, section 5.1.7: S must be below L, else one signature could be spelt in two ways."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = sign(SEED, "a", b"b")
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not verify(PUBLIC, "a", b"b", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_wrong_lengths_are_no_signature_and_no_error(length: int) -> None:
    assert not verify(PUBLIC, "a", b"b", bytes(length))
    assert not verify(bytes(length), "a", b"b", bytes(64))


def test_a_seed_is_not_printed() -> None:
    assert "9d61" not in repr(Signer("k", SEED))
    assert "seed" not in repr(Signer("k", SEED))


def test_the_library_is_not_loaded_before_the_first_signature() -> None:
    code = "import sys, edge_agent.command.inbox; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
