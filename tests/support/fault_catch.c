#include "support/fault_catch.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static sigjmp_buf back;

static void jump_back(int sig)
{
    (void)sig;
    siglongjmp(back, 1);
}

/* Not instrumented: a sanitizer would look up shadow memory of a bad address, and report before the
 * fault. */
__attribute__((no_sanitize("address", "thread"))) static bool touch(volatile char *at, bool write)
{
    struct sigaction on_fault = { .sa_handler = jump_back }, segv, bus;
    sigemptyset(&on_fault.sa_mask);
    sigaction(SIGSEGV, &on_fault, &segv);
    sigaction(SIGBUS, &on_fault, &bus);
    volatile bool faulted = sigsetjmp(back, 1) != 0;
    if (!faulted) {
        char c = *at;
        if (write)
            *at = c;
    }
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
    return faulted;
}

bool read_faults(const volatile char *at)
{
    return touch((volatile char *)at, false);
}

bool write_faults(volatile char *at)
{
    return touch(at, true);
}
