#include "support/emulated_tiles.h"
#include "support/simde_avx512.h"

#include "support/simde_avx512_matmul.h"

#define amx_matmul simde_amx_matmul
#define avx512_quantise simde_avx512_quantise
#define avx512_matmul simde_avx512_matmul

/* Types by other names than the library's, as the linker sees them. */
#include "kernels/matmul_call.h"
#include "kernels/quantised.h"
#define RENAMED(TYPE, type, offset)                                                                \
    extern matmul_of_type avx512_matmul_##type __asm__("simde_matmul_" #type);                     \
    extern const struct quantised avx512_##type __asm__("simde_" #type);
WEIGHT_TYPES(RENAMED)

#include "kernels/avx512/matmul.c"
#include "kernels/avx512/matmul_float.c"
#include "kernels/avx512/matmul_iq4.c"
#include "kernels/avx512/matmul_q236_k.c"
#include "kernels/avx512/matmul_q4.c"
#include "kernels/avx512/matmul_q45_k.c"
#include "kernels/avx512/matmul_q5.c"
#include "kernels/avx512/matmul_q8.c"

#define types types_by_tiles
#include "kernels/amx/matmul.c"
#include "kernels/avx512/quantise.c"
