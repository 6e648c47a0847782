/* kernels/amx/tiles.h - the tile instructions that kernels use, as the compiler must be told of them.
 *
 *   c [16 rows][16] i32  +=  x [16 rows][k] signed bytes  times  w [k / 4][16][4] signed bytes
 *
 * Not by gcc's intrinsics: 12's _tile_loadconfig says that it reads 8 of its 64 bytes, and its _tile_loadd that it
 * reads nothing, so stores in front of them get lost. Tiles are numbers, as the instructions have no other names for
 * them. Before any of it the process asks for them (os/tiles.h), and each call of a kernel begins and ends them itself:
 * tiles in use would be saved at every switch of threads. Where there is no AMX, tests/support/emulated_tiles.h takes
 * this header's place. */
#ifndef KERNELS_AMX_TILES_H
#define KERNELS_AMX_TILES_H

#include <stddef.h>
#include <stdint.h>

/* Of each tile its rows, and the bytes of a row. */
struct tile_shapes {
    uint8_t palette, first_row, none[14];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
};

static inline void tiles_begin(const struct tile_shapes *shapes)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*shapes));
}

static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease");
}

#define TILE_TEXT(t) #t
#define TILE_NAME(t) "%%tmm" TILE_TEXT(t)

#define tile_zero(t) __asm__ volatile("tilezero " TILE_NAME(t) : :)
#define tile_load(t, at, stride)                                                                   \
    __asm__ volatile("tileloadd (%0,%1,1), " TILE_NAME(t)                                          \
                     :                                                                             \
                     : "r"(at), "r"((size_t)(stride))                                              \
                     : "memory")
#define tile_store(t, at, stride)                                                                  \
    __asm__ volatile("tilestored " TILE_NAME(t) ", (%0,%1,1)"                                      \
                     :                                                                             \
                     : "r"(at), "r"((size_t)(stride))                                              \
                     : "memory")
#define tile_multiply(c, x, w)                                                                     \
    __asm__ volatile("tdpbssd " TILE_NAME(w) ", " TILE_NAME(x) ", " TILE_NAME(c) : :)

#endif
