/* User-mode Linux 6.1 on processors with AMX: preloaded into it, see guest.py.
 *
 * It keeps a process's vector registers in a buffer of 2696 bytes, which holds everything up to
 * AVX-512 (HOST_FP_SIZE in arch/x86/um/user-offsets.c), and gives them back with PTRACE_SETREGSET.
 * With AMX the state is 11008 bytes, and the host's kernel takes all of it or nothing
 * (xstateregs_set() in arch/x86/kernel/fpu/regset.c): the lab kernel died before its first process
 * ran. Here the rest is added: tiles that are not in use, for no program in the lab uses them.
 *
 * No headers and nothing variadic, so that any C compiler will do, tcc too.
 */

#define PTRACE_GETREGSET 0x4204
#define PTRACE_SETREGSET 0x4205
#define NT_X86_XSTATE 0x202
#define LARGEST 65536
#define XSTATE_BV 512 /* of the XSAVE header: which components the buffer holds */
#define TILES (3UL << 17)

struct iovec {
    void *base;
    unsigned long length;
};

extern void *dlsym(void *handle, const char *name);
extern void *memcpy(void *to, const void *from, unsigned long count);

typedef long ptrace_t(long request, long pid, void *address, void *data);

static char whole[LARGEST];
static unsigned long size; /* of the processor's state, in bytes */

long ptrace(long request, long pid, void *address, void *data)
{
    static ptrace_t *next;
    struct iovec *given = data, all = {whole, sizeof whole};

    if (!next)
        next = (ptrace_t *)dlsym((void *)-1 /* RTLD_NEXT */, "ptrace");
    if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE)
        return next(request, pid, address, data);
    if (!size) {
        if (next(PTRACE_GETREGSET, pid, address, &all) < 0)
            return -1;
        size = all.length;
        for (unsigned long i = 0; i < size; i++)
            whole[i] = 0;
    }
    if (given->length >= size)
        return next(request, pid, address, data);
    memcpy(whole, given->base, given->length);
    *(unsigned long *)(whole + XSTATE_BV) &= ~TILES;
    all.length = size;
    return next(request, pid, address, &all);
}
