"""Classic BPF: a few instructions that let the kernel drop what a socket has no use for.

    code 16, jump if true 8, jump if false 8, operand 32        (linux/filter.h: struct sock_filter)

Loads are in network byte order, whatever the data's own order is.
"""

import ctypes
import socket
import struct

LOAD_BYTE, LOAD_HALF, LOAD_WORD, JUMP_EQUAL, RETURN = 0x30, 0x28, 0x20, 0x15, 0x06
ALL, NOTHING = 0xFFFFFFFF, 0  # what to return: so many bytes of the packet

Instruction = tuple[int, int, int, int]

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")


def pack(program: tuple[Instruction, ...]) -> bytes:
    """The program as the kernel reads it."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def attach(sock: socket.socket, program: tuple[Instruction, ...]) -> None:
    """Have the kernel run it on each packet of this socket."""
    packed = pack(program)
    code = ctypes.create_string_buffer(packed, len(packed))
    sock.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(code)),
    )
