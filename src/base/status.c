#include "base/status.h"

const char *status_name(enum status st)
{
    static const char *const names[] = {
        [OK] = "ok",
        [FULL] = "full",
        [NOT_FOUND] = "not found",
        [BAD_INPUT] = "bad input",
        [CANCELED] = "canceled",
        [IO_ERROR] = "i/o error",
        [CORRUPT] = "corrupt",
    };
    return (unsigned)st < sizeof names / sizeof *names ? names[st] : "unknown";
}
