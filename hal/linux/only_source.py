"""Lets a UDP socket hear one source alone: a small program that the kernel runs on each packet.

Why not `connect(2)`: it would also fix the local address of a socket on the wildcard (a packet for this
machine's other address then stays outside, and so do groups), lose a port that the kernel picked when it is
undone, and answer every stranger with an ICMP error. A classic BPF program needs no privilege and touches
nothing but what is let in.

Facts (filter.txt of the Linux documentation, linux/filter.h): the program sees a datagram from its UDP header
on, so the source port is the half word at 0; the IP header is at SKF_NET_OFF, the source address there at 12
(IPv4) or 8 (IPv6). What it turns down is counted as thrown away by the socket.
"""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_SKF_NET_OFF = (1 << 32) - 0x100000
_LOAD_HALF, _LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x28, 0x20, 0x15, 0x06
_WHOLE = 0xFFFFFFFF


def let_in(sock: socket.socket, source: tuple[str, int] | None) -> None:
    """Let only packets of this address and port into the socket, or (None) all again. Raises OSError."""
    if source is None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except FileNotFoundError:
            return  # there was none
        return
    program = _program(sock.family, source[0].partition("%")[0], source[1])
    code = ctypes.create_string_buffer(b"".join(program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _program(family: int, address: str, port: int) -> list[bytes]:
    """Compare the port, then the address word by word; the last line but one lets in, the last refuses."""
    raw = socket.inet_pton(family, address)
    words = struct.unpack(f"!{len(raw) // 4}I", raw)
    first = _SKF_NET_OFF + (12 if family == socket.AF_INET else 8)
    loads = [(_LOAD_HALF, 0, port)] + [(_LOAD_WORD, first + 4 * at, word) for at, word in enumerate(words)]
    lines: list[bytes] = []
    for at, (load, offset, wanted) in enumerate(loads):
        to_the_refusal = 2 * (len(loads) - at) - 1
        lines += [_line(load, 0, 0, offset), _line(_JUMP_IF_EQUAL, 0, to_the_refusal, wanted)]
    return [*lines, _line(_RETURN, 0, 0, _WHOLE), _line(_RETURN, 0, 0, 0)]


def _line(code: int, jump_true: int, jump_false: int, operand: int) -> bytes:
    return struct.pack("@HBBI", code, jump_true, jump_false, operand)
