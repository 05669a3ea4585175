"""Extended BPF, as far as one gate needs it: by whose socket a packet was sent (bpf(2)).

code 8, source 4 and destination register 4, offset 16, operand 32      (linux/bpf.h)
"""

import ctypes
import errno
import os
import platform
import struct

_CALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _SCHED_CLS = 5, 3
_ATTRIBUTES = struct.Struct("=IIQQIIQII")
_INSTRUCTION = struct.Struct("=BBhi")
_CALL, _JUMP_NOT_EQUAL, _MOVE, _EXIT = 0x85, 0x55, 0xB7, 0x95
_GET_SOCKET_UID = 47
_OK, _SHOT = 0, 2  # TC_ACT_
_ONLY_ROOTS = (
    (_CALL, 0, 0, _GET_SOCKET_UID),
    (_JUMP_NOT_EQUAL, 0, 2, 0),
    (_MOVE, 0, 0, _OK),
    (_EXIT, 0, 0, 0),
    (_MOVE, 0, 0, _SHOT),
    (_EXIT, 0, 0, 0),
)
_libc = ctypes.CDLL(None, use_errno=True)


def only_roots() -> int:
    """A program for what leaves an interface: it drops what no socket of root's sent. Its file
    descriptor; OSError where the kernel has no such thing, or we may not (CAP_BPF)."""
    call = _CALLS.get(platform.machine())
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code = b"".join(_INSTRUCTION.pack(*each) for each in _ONLY_ROOTS)
    program = ctypes.create_string_buffer(code, len(code))
    terms = ctypes.create_string_buffer(b"GPL")
    where = (ctypes.addressof(program), ctypes.addressof(terms))
    packed = _ATTRIBUTES.pack(_SCHED_CLS, len(_ONLY_ROOTS), *where, 0, 0, 0, 0, 0)
    attributes = ctypes.create_string_buffer(packed, len(packed))
    descriptor = int(_libc.syscall(call, _PROG_LOAD, attributes, len(packed)))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
