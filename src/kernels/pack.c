/* Packing (panel.h): what a type's block is, as pieces that move, and the moving. Sixteen lanes are walked together,
 * and 16 bytes of four of them are transposed as 4 x 4 dwords, so that whole vectors are read and written: it is about
 * as fast as memory. */
#include <assert.h>
#include <smmintrin.h>
#include <string.h>

#include "kernels/matmul.h"
#include "kernels/panel.h"
#include "kernels/quantised.h"
#include "kernels/quants.h"

/* A piece of a block: `bytes` at `from` in a lane's file block go to `to` in the panel's, a half or dwords. */
struct piece {
    uint16_t from, to, bytes;
};

struct layout {
    struct piece piece[6]; // one of 0 bytes ends them
    uint16_t fifth_bits;   // where the dwords lie whose bits are transposed; 0: nowhere
};

#define PIECE(type, field)                                                                         \
    {                                                                                              \
        offsetof(struct block_##type, field), offsetof(struct panel_##type, field),                \
            sizeof(((struct block_##type *)0)->field)                                              \
    }

#define LAYOUT(type, fifth_bits, ...)                                                              \
    static const struct layout layout_##type = { { __VA_ARGS__ }, fifth_bits };

LAYOUT(q8_0, 0, PIECE(q8_0, d), PIECE(q8_0, qs))
LAYOUT(q4_0, 0, PIECE(q4_0, d), PIECE(q4_0, qs))
LAYOUT(q4_1, 0, PIECE(q4_1, d), PIECE(q4_1, m), PIECE(q4_1, qs))
LAYOUT(q5_0, offsetof(struct panel_q5_0, qh), PIECE(q5_0, d), PIECE(q5_0, qh), PIECE(q5_0, qs))
LAYOUT(q5_1, offsetof(struct panel_q5_1, qh), PIECE(q5_1, d), PIECE(q5_1, m), PIECE(q5_1, qh),
       PIECE(q5_1, qs))
LAYOUT(q2_k, 0, PIECE(q2_k, d), PIECE(q2_k, dmin), PIECE(q2_k, scales), PIECE(q2_k, qs))
LAYOUT(q3_k, 0, PIECE(q3_k, d), PIECE(q3_k, scales), PIECE(q3_k, hmask), PIECE(q3_k, qs))
LAYOUT(q4_k, 0, PIECE(q4_k, d), PIECE(q4_k, dmin), PIECE(q4_k, scales), PIECE(q4_k, qs))
LAYOUT(q5_k, 0, PIECE(q5_k, d), PIECE(q5_k, dmin), PIECE(q5_k, scales), PIECE(q5_k, qh),
       PIECE(q5_k, qs))
LAYOUT(q6_k, 0, PIECE(q6_k, d), PIECE(q6_k, scales), PIECE(q6_k, ql), PIECE(q6_k, qh))
LAYOUT(iq4_nl, 0, PIECE(iq4_nl, d), PIECE(iq4_nl, qs))
LAYOUT(iq4_xs, 0, PIECE(iq4_xs, d), PIECE(iq4_xs, scales_h), PIECE(iq4_xs, scales_l),
       PIECE(iq4_xs, qs))

#define LAYOUT_OF(TYPE, type, offset) [DT_##TYPE] = &layout_##type,
static const struct layout *const layouts[DT_LIMIT] = { QUANTISED_TYPES(LAYOUT_OF) };

/* Packing loses nothing and adds nothing. */
#define AS_LARGE(TYPE, type, offset)                                                               \
    static_assert(sizeof(struct panel_##type) == PANEL * sizeof(struct block_##type), #TYPE);
QUANTISED_TYPES(AS_LARGE)

static size_t round_up_64(size_t n)
{
    return (n + 63) / 64 * 64;
}

bool packed_shape(struct packed *out, enum dtype type, uint32_t n, uint32_t k)
{
    const struct dtype_info *t = dtype_info(type);
    if (!t || !t->block_elems || n == 0 || k == 0 || k % t->block_elems)
        return false;
    *out = (struct packed){ .type = type, .n = n, .k = k, .n_panel = n / PANEL + (n % PANEL != 0) };
    out->panel_bytes = round_up_64(PANEL * dtype_bytes(type, k));
    return true;
}

/* The 16 rows of a panel, walked together. A lane behind the last output stands still on zeros. */
struct lanes {
    const uint8_t *at[PANEL];
    size_t step[PANEL]; // bytes from one block to the next
};

static const uint8_t zeros[256];

static struct lanes lanes_of(const struct packed *shape, const uint8_t *rows, uint32_t panel,
                             size_t step)
{
    size_t row_bytes = dtype_bytes(shape->type, shape->k);
    struct lanes lanes;
    for (uint32_t i = 0; i < PANEL; i++) {
        uint64_t row = (uint64_t)panel * PANEL + i;
        lanes.at[i] = row < shape->n ? rows + row * row_bytes : zeros;
        lanes.step[i] = row < shape->n ? step : 0;
    }
    return lanes;
}

static void lanes_next(struct lanes *lanes)
{
    for (int i = 0; i < PANEL; i++)
        lanes->at[i] += lanes->step[i];
}

static void move_halves(uint8_t *to, const struct lanes *lanes, size_t from)
{
    for (int i = 0; i < PANEL; i++)
        memcpy(to + 2 * i, lanes->at[i] + from, 2);
}

static void move_dwords(uint8_t *to, const struct lanes *lanes, size_t from)
{
    for (int i = 0; i < PANEL; i++)
        memcpy(to + 4 * i, lanes->at[i] + from, 4);
}

/* Four dwords of every lane, transposed 4 x 4 at a time. */
static void move_4_dwords(uint8_t *to, const struct lanes *lanes, size_t from)
{
    for (int i = 0; i < PANEL; i += 4) {
        __m128i a = _mm_loadu_si128((const __m128i *)(lanes->at[i] + from));
        __m128i b = _mm_loadu_si128((const __m128i *)(lanes->at[i + 1] + from));
        __m128i c = _mm_loadu_si128((const __m128i *)(lanes->at[i + 2] + from));
        __m128i d = _mm_loadu_si128((const __m128i *)(lanes->at[i + 3] + from));
        __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
        __m128i AB = _mm_unpackhi_epi32(a, b), CD = _mm_unpackhi_epi32(c, d);
        __m128i *out = (__m128i *)(to + 4 * i);
        _mm_store_si128(&out[0], _mm_unpacklo_epi64(ab, cd));
        _mm_store_si128(&out[4], _mm_unpackhi_epi64(ab, cd));
        _mm_store_si128(&out[8], _mm_unpacklo_epi64(AB, CD));
        _mm_store_si128(&out[12], _mm_unpackhi_epi64(AB, CD));
    }
}

/* Eight halves of eight lanes, transposed. */
static void move_8_halves(uint8_t *to, const uint8_t *const at[8], size_t from)
{
    __m128i a[8], b[8];
    for (int i = 0; i < 8; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(at[i] + from));
    for (int i = 0; i < 4; i++) {
        b[i] = _mm_unpacklo_epi16(a[2 * i], a[2 * i + 1]);
        b[i + 4] = _mm_unpackhi_epi16(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm_unpacklo_epi32(b[2 * i], b[2 * i + 1]);
        a[i + 4] = _mm_unpackhi_epi32(b[2 * i], b[2 * i + 1]);
    }
    /* a[0], a[1]: elements 0 and 1 of lanes 0-3 and 4-7; a[4], a[5]: 2 and 3; and so on by two */
    static const uint8_t pair[4] = { 0, 4, 2, 6 };
    for (int i = 0; i < 4; i++) {
        __m128i low = a[pair[i]], high = a[pair[i] + 1];
        _mm_store_si128((__m128i *)(to + 64 * i), _mm_unpacklo_epi64(low, high));
        _mm_store_si128((__m128i *)(to + 64 * i + 32), _mm_unpackhi_epi64(low, high));
    }
}

static void move_piece(uint8_t *panel, const struct lanes *lanes, struct piece p)
{
    uint8_t *to = panel + p.to;
    size_t done = 0;
    if (p.bytes == 2)
        move_halves(to, lanes, p.from);
    for (; done + 16 <= p.bytes; done += 16)
        move_4_dwords(to + PANEL * done, lanes, p.from + done);
    for (; done + 4 <= p.bytes; done += 4)
        move_dwords(to + PANEL * done, lanes, p.from + done);
}

/* Swaps two bits of the numbers of a dword's bits: those under `mask` with those `shift` above. */
static uint32_t swap_bits(uint32_t x, uint32_t mask, int shift)
{
    uint32_t differ = (x >> shift ^ x) & mask;
    return x ^ differ ^ differ << shift;
}

/* Bit 4 g + i becomes bit 8 i + g: the bits of a bit's number turn by two places. */
static void transpose_fifth_bits(uint8_t *dwords)
{
    for (int i = 0; i < PANEL; i++) {
        uint32_t x;
        memcpy(&x, dwords + 4 * i, 4);
        x = swap_bits(x, 0x0a0a0a0a, 3);
        x = swap_bits(x, 0x00cc00cc, 6);
        x = swap_bits(x, 0x0000f0f0, 12);
        x = swap_bits(x, 0x0000ff00, 8);
        memcpy(dwords + 4 * i, &x, 4);
    }
}

static void fill_quantised(const struct packed *shape, struct lanes lanes, uint8_t *panel)
{
    const struct dtype_info *t = dtype_info(shape->type);
    const struct layout *layout = layouts[shape->type];
    for (uint32_t i = 0; i < shape->k; i += t->block_elems) {
        for (const struct piece *p = layout->piece; p->bytes; p++)
            move_piece(panel, &lanes, *p);
        if (layout->fifth_bits)
            transpose_fifth_bits(panel + layout->fifth_bits);
        panel += PANEL * t->block_bytes;
        lanes_next(&lanes);
    }
}

static void fill_f32(uint32_t k, struct lanes lanes, uint8_t *panel)
{
    for (; k >= 4; k -= 4, panel += 256) {
        move_4_dwords(panel, &lanes, 0);
        for (int i = 0; i < PANEL; i++)
            lanes.at[i] += lanes.step[i] * 4;
    }
    for (; k > 0; k--, panel += 64) {
        move_dwords(panel, &lanes, 0);
        lanes_next(&lanes);
    }
}

/* F16 and BF16. */
static void fill_halves(uint32_t k, struct lanes lanes, uint8_t *panel)
{
    for (; k >= 8; k -= 8, panel += 256) {
        move_8_halves(panel, lanes.at, 0);
        move_8_halves(panel + 16, lanes.at + 8, 0);
        for (int i = 0; i < PANEL; i++)
            lanes.at[i] += lanes.step[i] * 8;
    }
    for (; k > 0; k--, panel += 32) {
        move_halves(panel, &lanes, 0);
        lanes_next(&lanes);
    }
}

void packed_fill(const struct packed *shape, const void *rows, uint8_t *dst, uint32_t first,
                 uint32_t last)
{
    size_t used = PANEL * dtype_bytes(shape->type, shape->k);
    for (uint32_t p = first; p < last; p++) {
        uint8_t *panel = dst + p * shape->panel_bytes;
        struct lanes lanes = lanes_of(shape, rows, p, dtype_info(shape->type)->block_bytes);
        if (is_quantised(shape->type))
            fill_quantised(shape, lanes, panel);
        else if (shape->type == DT_F32)
            fill_f32(shape->k, lanes, panel);
        else
            fill_halves(shape->k, lanes, panel);
        memset(panel + used, 0, shape->panel_bytes - used);
    }
}
