#include "model/rope.h"

#include "kernels/fmath.h"

/* YaRN: the pair index at which a wave turns n_turn times over the original context. */
static double yarn_pair(double n_turn, const struct rope_params *p, uint32_t n_rot)
{
    const double two_pi = 6.283185307179586;
    return n_rot * fm_log((double)p->n_ctx_orig / (n_turn * two_pi)) /
           (2 * fm_log((double)p->base));
}

static double clamped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double floor_of(double x)
{
    double whole = (double)(long long)x;
    return whole > x ? whole - 1 : whole;
}

/* How much of pair i keeps its own (extrapolated) frequency: 1 for fast waves, 0 for slow ones. */
static double yarn_ramp(const struct rope_params *p, uint32_t n_rot, uint32_t i)
{
    double low = floor_of(yarn_pair((double)p->beta_fast, p, n_rot));
    double high = -floor_of(-yarn_pair((double)p->beta_slow, p, n_rot));
    low = clamped(low, 0, n_rot - 1);
    high = clamped(high, 0, n_rot - 1);
    double y = (i - low) / (high - low > 0.001 ? high - low : 0.001);
    return 1 - clamped(y, 0, 1);
}

/* YaRN: attention sharper by 0.1 m ln(factor), so that it stays as peaked in a longer context; m = 1 in the paper. */
static double yarn_sharpness(double factor, double m)
{
    return factor > 1 ? 1 + 0.1 * m * fm_log(factor) : 1;
}

static double yarn_magnitude(const struct rope_params *p)
{
    const double factor = (double)p->factor;
    double own = yarn_sharpness(factor, 1) / yarn_sharpness(factor, (double)p->yarn_log_mul);
    if (p->yarn_attn_factor > 0)
        own = (double)p->yarn_attn_factor;
    return (p->ext_factor != 0 ? own : 1) * (double)p->attn_factor;
}

void rope_init(struct rope *out, const struct rope_params *p, uint32_t n_rot, const float *factors)
{
    out->n_pair = n_rot / 2;
    out->magnitude = 1;
    for (uint32_t i = 0; i < out->n_pair; i++) {
        double freq = 1 / fm_pow((double)p->base, 2.0 * i / n_rot);
        if (factors)
            freq /= (double)factors[i];
        if (p->scaling == ROPE_LINEAR)
            freq /= (double)p->factor;
        if (p->scaling == ROPE_YARN) {
            double own = yarn_ramp(p, n_rot, i) * (double)p->ext_factor;
            freq = freq / (double)p->factor * (1 - own) + freq * own;
        }
        out->freq[i] = freq;
    }
    if (p->scaling == ROPE_YARN)
        out->magnitude = (float)yarn_magnitude(p);
}

void rope_angles(const struct rope *r, uint32_t position, float *cs)
{
    for (uint32_t i = 0; i < r->n_pair; i++) {
        double sin, cos;
        fm_sincos(position * r->freq[i], &sin, &cos);
        cs[2 * i] = (float)(cos * (double)r->magnitude);
        cs[2 * i + 1] = (float)(sin * (double)r->magnitude);
    }
}
