/* kernels/panel.h - a packed block: 16 outputs side by side. Private to kernels/.
 *
 *   file      lane 0: d qs qs qs qs      lane 1: d qs qs qs qs   ...      lane = output, one row of the file each
 *   panel     d d d ... d   qs0 qs0 ... qs0   qs1 qs1 ... qs1   ...       dword [g][lane]: bytes 4g..4g+3 of a lane
 *
 * Packing moves halves and dwords and computes nothing: a block is the bytes of 16 blocks of the file, so a
 * panel is at most 63 bytes longer than its rows. A dword of codes is four consecutive k of one output, which
 * is what vpdpbusd and vpmaddubsw add up. One exception: the fifth bits of Q5_0 and Q5_1 are transposed inside
 * their dword, bit 8 i + g for element 4 g + i, so that dword g gets its four by one shift and one mask.
 *
 * Floats: [k][16] elements. A panel is its blocks in order of k; a block starts at a multiple of 32 bytes. */
#ifndef KERNELS_PANEL_H
#define KERNELS_PANEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/f16.h"
#include "kernels/matmul.h"

typedef uint32_t lanes32[PANEL];
typedef f16 lanes16[PANEL];

struct panel_q4_0 {
    lanes16 d;
    lanes32 qs[4];
};

struct panel_q4_1 {
    lanes16 d, m;
    lanes32 qs[4];
};

struct panel_q5_0 {
    lanes16 d;
    lanes32 qh;
    lanes32 qs[4];
};

struct panel_q5_1 {
    lanes16 d, m;
    lanes32 qh;
    lanes32 qs[4];
};

struct panel_q8_0 {
    lanes16 d;
    lanes32 qs[8];
};

struct panel_q2_k {
    lanes16 d, dmin;
    lanes32 scales[4];
    lanes32 qs[2][8]; // [half of 128][g]: four blocks a byte
};

struct panel_q3_k {
    lanes16 d;
    lanes32 scales[3];
    lanes32 hmask[8];
    lanes32 qs[2][8];
};

struct panel_q4_k {
    lanes16 d, dmin;
    lanes32 scales[3];
    lanes32 qs[4][8]; // [pair of blocks][g]
};

struct panel_q5_k {
    lanes16 d, dmin;
    lanes32 scales[3];
    lanes32 qh[8];
    lanes32 qs[4][8];
};

struct panel_q6_k {
    lanes16 d;
    lanes32 scales[4];
    lanes32 ql[2][2][8]; // [half of 128][block t % 2 of it][g]: blocks t and t + 2 share a byte
    lanes32 qh[2][8];
};

struct panel_iq4_nl {
    lanes16 d;
    lanes32 qs[4];
};

struct panel_iq4_xs {
    lanes16 d, scales_h;
    lanes32 scales_l;
    lanes32 qs[8][4];
};

/* What a thread unpacks a run of blocks into: fits the first-level cache. And how many k of how many panels of floats
 * it widens at once: fit the second. */
enum { MATMUL_SCRATCH = 32 * 1024, MATMUL_WIDE = 1024, WIDE_PANELS = 2 };

#endif
