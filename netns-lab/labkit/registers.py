"""User-mode Linux 6.1 on processors with AMX.

It saves a process's vector registers with PTRACE_GETREGSET into a buffer of 2696 bytes, which
holds everything up to AVX-512 (HOST_FP_SIZE in arch/x86/um/user-offsets.c). With AMX the state is
11008 bytes; a host kernel takes back all of it or nothing (xstateregs_set() in
arch/x86/kernel/fpu/regset.c), and the lab kernel dies before its first process runs.

Where that request fails from the start, user-mode Linux falls back to PTRACE_GETFPREGS, as on
processors of old: so we let it fail. What is lost are the upper halves of AVX registers when
threads of one process or a signal handler take turns; `CALM` keeps the libraries from using them.
"""

import ctypes
import struct
from pathlib import Path

from labkit import kernel

_NOT_USED = ("AVX", "AVX2", "AVX512F", "AVX512VL", "AVX512BW", "AVX_Fast_Unaligned_Load")
CALM = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in _NOT_USED),
    "OPENSSL_ia32cap": "~0x1000000000000000:~0x20",  # AVX; AVX2
}

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_MODE_FILTER = 2
_ALLOW, _EIO = 0x7FFF0000, 0x00050000 | 5
_X86_64 = 0xC000003E
_PTRACE, _GETREGSET, _SETREGSET, _NT_X86_XSTATE = 101, 0x4204, 0x4205, 0x202
_NUMBER_AT, _ARCH_AT, _REQUEST_AT, _NOTE_AT = 0, 4, 16, 32  # in struct seccomp_data
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_INSTRUCTION = struct.Struct("=HBBI")


def too_wide() -> bool:
    """Whether this processor has more state than user-mode Linux can keep."""
    return " amx_tile" in Path("/proc/cpuinfo").read_text()


def hide() -> None:
    """From now on this process and what it becomes cannot ask for the whole vector state."""
    program = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (_LOAD, 0, 0, _ARCH_AT),
            (_EQUAL, 0, 8, _X86_64),
            (_LOAD, 0, 0, _NUMBER_AT),
            (_EQUAL, 0, 6, _PTRACE),
            (_LOAD, 0, 0, _REQUEST_AT),
            (_EQUAL, 1, 0, _GETREGSET),
            (_EQUAL, 0, 3, _SETREGSET),
            (_LOAD, 0, 0, _NOTE_AT),
            (_EQUAL, 0, 1, _NT_X86_XSTATE),
            (_RETURN, 0, 0, _EIO),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    # struct sock_fprog: a count, and where the instructions are.
    fprog = struct.pack("@HP", count, ctypes.addressof(code))
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(_PR_SET_SECCOMP, _MODE_FILTER, fprog)
