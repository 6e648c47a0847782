#include "kernels/kernels.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kernels/tables.h"
#include "os/tiles.h"

/* What the compiler may use in a folder is what must be asked for: x86-64-v3 for avx2/, x86-64-v4
 * and VNNI for avx512/, and the tiles too for amx/. */
enum set { SET_V3 = 1, SET_V4 = 2, SET_TILES = 4 };

struct feature {
    const char *name;
    unsigned leaf;
    char reg; // 'b', 'c' or 'd'
    unsigned bit;
    unsigned set; // the smallest set that needs it
    bool told;    // in kernels_describe
};

static const struct feature FEATURES[] = {
    { "OSXSAVE", 1, 'c', 27, SET_V3, false },    { "AVX", 1, 'c', 28, SET_V3, false },
    { "MOVBE", 1, 'c', 22, SET_V3, false },      { "LZCNT", 0x80000001, 'c', 5, SET_V3, false },
    { "BMI1", 7, 'b', 3, SET_V3, false },        { "BMI2", 7, 'b', 8, SET_V3, false },
    { "AVX2", 7, 'b', 5, SET_V3, true },         { "FMA", 1, 'c', 12, SET_V3, true },
    { "F16C", 1, 'c', 29, SET_V3, true },        { "AVX512F", 7, 'b', 16, SET_V4, true },
    { "AVX512DQ", 7, 'b', 17, SET_V4, false },   { "AVX512CD", 7, 'b', 28, SET_V4, false },
    { "AVX512BW", 7, 'b', 30, SET_V4, false },   { "AVX512VL", 7, 'b', 31, SET_V4, false },
    { "AVX512_VNNI", 7, 'c', 11, SET_V4, true }, { "AMX_TILE", 7, 'd', 24, SET_TILES, false },
    { "AMX_INT8", 7, 'd', 25, SET_TILES, true },
};

enum { N_FEATURE = sizeof FEATURES / sizeof *FEATURES };

/* The registers that the system saves between threads: a processor's AVX is no use without. */
enum { SAVED_YMM = 0x06, SAVED_ZMM = 0xe6, SAVED_TILES = 0x600e6 };

static const struct table {
    const struct kernels *kernels;
    unsigned sets;
    unsigned saved; // of XCR0
} TABLES[] = {
    { &kernels_ref, 0, 0 },
    { &kernels_avx2, SET_V3, SAVED_YMM },
    { &kernels_avx512, SET_V3 | SET_V4, SAVED_ZMM },
    { &kernels_amx, SET_V3 | SET_V4 | SET_TILES, SAVED_TILES },
};

enum { N_TABLE = sizeof TABLES / sizeof *TABLES };

static bool has(const struct feature *f)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(f->leaf, 0, &a, &b, &c, &d))
        return false;
    return (f->reg == 'b' ? b : f->reg == 'c' ? c : d) >> f->bit & 1;
}

static unsigned saved_registers(void)
{
    unsigned low, high;
    if (!has(&FEATURES[0]))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Adds " NAME" for every feature that the table needs and this processor lacks. Answers whether it
 * lacks none. */
static bool table_runs(const struct table *t, char *missing, size_t size)
{
    bool all = true;
    size_t used = 0;
    missing[0] = 0;
    for (int i = 0; i < N_FEATURE; i++)
        if ((FEATURES[i].set & t->sets) && !has(&FEATURES[i])) {
            all = false;
            used += (size_t)snprintf(missing + used, size - used, " %s", FEATURES[i].name);
        }
    if (all && (saved_registers() & t->saved) != t->saved) {
        all = false;
        snprintf(missing, size, " the system's saving of its registers");
    }
    if (all && (t->sets & SET_TILES) && !os_tiles_allowed()) {
        all = false;
        snprintf(missing, size, " the system's leave to use tiles");
    }
    return all;
}

uint32_t kernels_available(const struct kernels **out, uint32_t max)
{
    uint32_t n = 0;
    char missing[256];
    for (int i = 0; i < N_TABLE && n < max; i++)
        if (table_runs(&TABLES[i], missing, sizeof missing))
            out[n++] = TABLES[i].kernels;
    return n;
}

static const struct kernels *best_available(void)
{
    char missing[256];
    int i = N_TABLE - 1;
    while (!table_runs(&TABLES[i], missing, sizeof missing))
        i--;
    return TABLES[i].kernels;
}

/* "ref avx2": the names of what runs here. */
static void names_available(char *text, size_t size)
{
    const struct kernels *k[N_TABLE];
    uint32_t n = kernels_available(k, N_TABLE);
    size_t used = 0;
    for (uint32_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " " : "", k[i]->name);
}

enum status kernels_select(const struct kernels **out, const char *name, struct note *why)
{
    char names[64], missing[256];
    if (strcmp(name, "auto") == 0) {
        *out = best_available();
        return OK;
    }
    names_available(names, sizeof names);
    for (int i = 0; i < N_TABLE; i++) {
        if (strcmp(name, TABLES[i].kernels->name) != 0)
            continue;
        if (table_runs(&TABLES[i], missing, sizeof missing)) {
            *out = TABLES[i].kernels;
            return OK;
        }
        note_set(
            why,
            "instruction set '%s' does not run here: this processor lacks%s; use one of: auto %s",
            name, missing, names);
        return BAD_INPUT;
    }
    note_set(why, "no instruction set is called '%s'; use one of: auto %s", name, names);
    return BAD_INPUT;
}

/* Without the blanks around it. */
const char *kernels_processor(char text[PROCESSOR_NAME])
{
    unsigned words[12] = { 0 };
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                         &words[4 * i + 3]))
            words[4 * i] = 0;
    memcpy(text, words, 48);
    text[48] = 0;
    size_t first = strspn(text, " "), n = strlen(text + first);
    memmove(text, text + first, n + 1);
    while (n > 0 && text[n - 1] == ' ')
        text[--n] = 0;
    return n ? text : strcpy(text, "x86-64");
}

const char *kernels_describe(const struct kernels *k, char *text, unsigned size)
{
    char cpu[PROCESSOR_NAME], features[128] = "";
    size_t used = 0;
    for (int i = 0; i < N_FEATURE; i++)
        if (FEATURES[i].told && has(&FEATURES[i]))
            used +=
                (size_t)snprintf(features + used, sizeof features - used, " %s", FEATURES[i].name);
    snprintf(text, size, "%s (%s,%s)", k->name, kernels_processor(cpu),
             features[0] ? features : " SSE4.2");
    return text;
}
