/* support/emulated_tiles.h - the tile instructions of amx/tiles.h in plain C, for compiling src/kernels/amx where no
 * processor has them.
 *
 * Include it first: it takes that header's place. As strict as the processor: a tile that was not configured, or not of
 * shapes that fit a product, ends the test. Source: Intel's Software Developer's Manual, volume 2, TDPBSSD,
 * LDTILECFG. */
#ifndef SUPPORT_EMULATED_TILES_H
#define SUPPORT_EMULATED_TILES_H
#define KERNELS_AMX_TILES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tile_shapes {
    uint8_t palette, first_row, none[14];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
};

_Static_assert(sizeof(struct tile_shapes) == 64, "ldtilecfg reads 64 bytes");

enum { N_TILE = 8, TILE_ROW = 64 };

static struct {
    struct tile_shapes shapes;
    uint8_t row[N_TILE][16][TILE_ROW];
} emulated_tiles;

static inline void tiles_end(void)
{
    memset(&emulated_tiles, 0, sizeof emulated_tiles);
}

static inline void tiles_begin(const struct tile_shapes *shapes)
{
    tiles_end();
    assert(shapes->palette == 1 && shapes->first_row == 0);
    for (int t = 0; t < 16; t++) {
        assert(shapes->n_row[t] <= 16 && shapes->row_bytes[t] <= TILE_ROW);
        assert((shapes->n_row[t] == 0) == (shapes->row_bytes[t] == 0));
        assert(t < N_TILE || shapes->n_row[t] == 0);
    }
    emulated_tiles.shapes = *shapes;
}

static inline int tile_rows_of(int t)
{
    assert(t >= 0 && t < N_TILE && emulated_tiles.shapes.n_row[t] > 0);
    return emulated_tiles.shapes.n_row[t];
}

static inline void tile_zero(int t)
{
    memset(emulated_tiles.row[t], 0, sizeof emulated_tiles.row[t]);
    (void)tile_rows_of(t);
}

static inline void tile_load(int t, const void *at, size_t stride)
{
    tile_zero(t);
    for (int r = 0; r < tile_rows_of(t); r++)
        memcpy(emulated_tiles.row[t][r], (const char *)at + (size_t)r * stride,
               emulated_tiles.shapes.row_bytes[t]);
}

static inline void tile_store(int t, void *at, size_t stride)
{
    for (int r = 0; r < tile_rows_of(t); r++)
        memcpy((char *)at + (size_t)r * stride, emulated_tiles.row[t][r],
               emulated_tiles.shapes.row_bytes[t]);
}

/* c += x times w, both signed. */
static inline void tile_multiply(int c, int x, int w)
{
    const int n_out = emulated_tiles.shapes.row_bytes[c] / 4, n_in = tile_rows_of(w);
    assert(tile_rows_of(c) == tile_rows_of(x));
    assert(emulated_tiles.shapes.row_bytes[x] == 4 * n_in);
    assert(emulated_tiles.shapes.row_bytes[w] == 4 * n_out);
    for (int r = 0; r < tile_rows_of(c); r++)
        for (int o = 0; o < n_out; o++) {
            int32_t sum;
            memcpy(&sum, &emulated_tiles.row[c][r][4 * o], 4);
            for (int k = 0; k < 4 * n_in; k++)
                sum += (int8_t)emulated_tiles.row[x][r][k] *
                       (int8_t)emulated_tiles.row[w][k / 4][4 * o + k % 4];
            memcpy(&emulated_tiles.row[c][r][4 * o], &sum, 4);
        }
}

#endif
