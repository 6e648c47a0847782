#include "support/count_maps.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "os/vm.h"
#include "support/sanitized.h"

uint32_t count_maps(void)
{
    char line[512];
    uint32_t n = 0;
    if (!SANITIZED)
        return vm_count();
    FILE *f = fopen("/proc/self/maps", "re");
    assert(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, "akvifer-kv") != NULL;
    fclose(f);
    return n;
}
