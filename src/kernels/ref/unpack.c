#include "kernels/quantised.h"
#include "kernels/quants.h"
#include "kernels/ref/unpack.h"

/* Four codes of 16 lanes: bits [shift, shift + width) of the bytes of a dword. */
static void codes(int8_t c[4][PANEL], const lanes32 dword, int shift, int mask)
{
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < PANEL; l++)
            c[i][l] = (int8_t)(dword[l] >> (8 * i + shift) & (uint32_t)mask);
}

/* One more bit, of value `value`, onto four codes: bit `shift` of the bytes of a dword. */
static void add_bit(int8_t c[4][PANEL], const lanes32 dword, int shift, int value)
{
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < PANEL; l++)
            c[i][l] = (int8_t)(c[i][l] + (int)(dword[l] >> (8 * i + shift) & 1) * value);
}

static void subtract(int8_t c[QBLOCK][PANEL], int offset)
{
    for (int k = 0; k < QBLOCK; k++)
        for (int l = 0; l < PANEL; l++)
            c[k][l] = (int8_t)(c[k][l] - offset);
}

static void look_up(int8_t c[QBLOCK][PANEL])
{
    for (int k = 0; k < QBLOCK; k++)
        for (int l = 0; l < PANEL; l++)
            c[k][l] = iq4_values[c[k][l]];
}

static void widen(float to[PANEL], const lanes16 half)
{
    for (int l = 0; l < PANEL; l++)
        to[l] = f32_of_f16(half[l]);
}

static void fill(int32_t to[2][PANEL], int value)
{
    for (int l = 0; l < PANEL; l++)
        to[0][l] = to[1][l] = value;
}

static uint8_t byte_of(const lanes32 *dwords, uint32_t i, int lane)
{
    return (uint8_t)(dwords[i / 4][lane] >> (i % 4 * 8));
}

/* The nibbles of a 32-block: low ones are the first half. */
static void nibbles(struct ref_block *out, const lanes32 qs[4])
{
    for (int g = 0; g < 4; g++) {
        codes(&out->c[4 * g], qs[g], 0, 15);
        codes(&out->c[4 * g + 16], qs[g], 4, 15);
    }
}

static void fifth_bits(struct ref_block *out, const lanes32 qh)
{
    for (int g = 0; g < 8; g++)
        add_bit(&out->c[4 * g], qh, g, 16);
}

static void of_q4_0(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_0 *p = (const struct panel_q4_0 *)panel + block;
    nibbles(out, p->qs);
    subtract(out->c, 8);
    fill(out->s, 1);
    widen(out->ws, p->d);
}

static void of_iq4_nl(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_iq4_nl *p = (const struct panel_iq4_nl *)panel + block;
    nibbles(out, p->qs);
    look_up(out->c);
    fill(out->s, 1);
    widen(out->ws, p->d);
}

static void of_q4_1(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_1 *p = (const struct panel_q4_1 *)panel + block;
    nibbles(out, p->qs);
    fill(out->s, 1);
    fill(out->m, 1);
    widen(out->ws, p->d);
    widen(out->wm, p->m);
    out->minima = true;
}

static void of_q5_0(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_0 *p = (const struct panel_q5_0 *)panel + block;
    nibbles(out, p->qs);
    fifth_bits(out, p->qh);
    subtract(out->c, 16);
    fill(out->s, 1);
    widen(out->ws, p->d);
}

static void of_q5_1(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_1 *p = (const struct panel_q5_1 *)panel + block;
    nibbles(out, p->qs);
    fifth_bits(out, p->qh);
    fill(out->s, 1);
    fill(out->m, 1);
    widen(out->ws, p->d);
    widen(out->wm, p->m);
    out->minima = true;
}

static void of_q8_0(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q8_0 *p = (const struct panel_q8_0 *)panel + block;
    for (int g = 0; g < 8; g++)
        codes(&out->c[4 * g], p->qs[g], 0, 255);
    fill(out->s, 1);
    widen(out->ws, p->d);
}

static void of_q2_k(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q2_k *p = (const struct panel_q2_k *)panel + block / 8;
    uint32_t s = block % 8;
    for (int g = 0; g < 8; g++)
        codes(&out->c[4 * g], p->qs[s / 4][g], (int)(s % 4 * 2), 3);
    for (int l = 0; l < PANEL; l++) {
        for (uint32_t h = 0; h < 2; h++) {
            uint8_t scale = byte_of(p->scales, 2 * s + h, l);
            out->s[h][l] = scale & 15;
            out->m[h][l] = scale >> 4;
        }
        out->ws[l] = f32_of_f16(p->d[l]);
        out->wm[l] = -f32_of_f16(p->dmin[l]);
    }
    out->minima = true;
}

static void of_q3_k(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q3_k *p = (const struct panel_q3_k *)panel + block / 8;
    uint32_t s = block % 8;
    for (int g = 0; g < 8; g++) {
        codes(&out->c[4 * g], p->qs[s / 4][g], (int)(s % 4 * 2), 3);
        add_bit(&out->c[4 * g], p->hmask[g], (int)s, 4);
    }
    subtract(out->c, 4);
    for (int l = 0; l < PANEL; l++) {
        uint8_t scales[12];
        for (uint32_t i = 0; i < 12; i++)
            scales[i] = byte_of(p->scales, i, l);
        for (uint32_t h = 0; h < 2; h++)
            out->s[h][l] = (int)k3_scale(scales, 2 * s + h) - 32;
        out->ws[l] = f32_of_f16(p->d[l]);
    }
}

/* The scales and minima of block s of a Q4_K or Q5_K super-block. */
static void k4_scales(struct ref_block *out, const lanes16 d, const lanes16 dmin,
                      const lanes32 packed[3], uint32_t s)
{
    for (int l = 0; l < PANEL; l++) {
        uint8_t scales[12];
        for (uint32_t i = 0; i < 12; i++)
            scales[i] = byte_of(packed, i, l);
        out->ws[l] = f32_of_f16(d[l]) * (float)k4_scale(scales, s);
        out->wm[l] = -(f32_of_f16(dmin[l]) * (float)k4_min(scales, s));
    }
    fill(out->s, 1);
    fill(out->m, 1);
    out->minima = true;
}

static void of_q4_k(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_k *p = (const struct panel_q4_k *)panel + block / 8;
    uint32_t s = block % 8;
    for (int g = 0; g < 8; g++)
        codes(&out->c[4 * g], p->qs[s / 2][g], (int)(s % 2 * 4), 15);
    k4_scales(out, p->d, p->dmin, p->scales, s);
}

static void of_q5_k(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_k *p = (const struct panel_q5_k *)panel + block / 8;
    uint32_t s = block % 8;
    for (int g = 0; g < 8; g++) {
        codes(&out->c[4 * g], p->qs[s / 2][g], (int)(s % 2 * 4), 15);
        add_bit(&out->c[4 * g], p->qh[g], (int)s, 16);
    }
    k4_scales(out, p->d, p->dmin, p->scales, s);
}

static void of_q6_k(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q6_k *p = (const struct panel_q6_k *)panel + block / 8;
    uint32_t s = block % 8, t = s % 4;
    for (int g = 0; g < 8; g++) {
        codes(&out->c[4 * g], p->ql[s / 4][t % 2][g], (int)(t / 2 * 4), 15);
        add_bit(&out->c[4 * g], p->qh[s / 4][g], (int)(2 * t), 16);
        add_bit(&out->c[4 * g], p->qh[s / 4][g], (int)(2 * t + 1), 32);
    }
    subtract(out->c, 32);
    for (int l = 0; l < PANEL; l++)
        for (uint32_t h = 0; h < 2; h++)
            out->s[h][l] = (int8_t)byte_of(p->scales, 2 * s + h, l);
    widen(out->ws, p->d);
}

static void of_iq4_xs(struct ref_block *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_iq4_xs *p = (const struct panel_iq4_xs *)panel + block / 8;
    uint32_t s = block % 8;
    nibbles(out, p->qs[s]);
    look_up(out->c);
    fill(out->s, 1);
    for (int l = 0; l < PANEL; l++) {
        uint32_t low = p->scales_l[l] >> 4 * s & 15, high = p->scales_h[l] >> 2 * s & 3;
        out->ws[l] = f32_of_f16(p->d[l]) * (float)((int)(low | high << 4) - 32);
    }
}

#define OF(TYPE, type, offset) [DT_##TYPE] = of_##type,
static ref_unpack *const of_type[DT_LIMIT] = { QUANTISED_TYPES(OF) };

ref_unpack *ref_unpack_of(enum dtype type)
{
    return of_type[type];
}
