/* base/kmeans.h - unit vectors in so many clusters, the same on every machine.
 *
 *   x [n][d], each of length 1 (or 0)  --k-means++, Lloyd, the best of several starts-->  of [n], centroid [k][d]
 *
 * W1  The same arguments give the same bits: one generator, sums in the order of indices, and no libm but sqrt.
 * W2  Every cluster has a member; so k is at most the number of different vectors (fewer may come out).
 * W3  Clusters are numbered in the order of their first members.
 *
 * Sources: Lloyd 1982, "Least squares quantization in PCM"; Arthur and Vassilvitskii 2007, "k-means++"; Rousseeuw 1987,
 * "Silhouettes".
 * Threads  any. Cost  starts * rounds * n * k * d. */
#ifndef BASE_KMEANS_H
#define BASE_KMEANS_H

#include <stdint.h>

#include "base/status.h"

struct kmeans {
    uint32_t n, d, k; // k: clusters there are
    uint32_t *of;     // [n] the cluster of each vector
    float *centroid;  // [k][d] means of members, made unit vectors
    double spread;    // mean squared distance to the cluster's mean
};

/* d % 8 == 0, n > 0, k > 0. FULL: no memory. */
must_use enum status kmeans_new(struct kmeans *out, const float *x, uint32_t n, uint32_t d,
                                uint32_t k, uint64_t seed);

/* The k in [least, most] of the largest mean silhouette, the smallest of equal ones. */
must_use enum status kmeans_best(struct kmeans *out, const float *x, uint32_t n, uint32_t d,
                                 uint32_t least, uint32_t most, uint64_t seed);
void kmeans_close(struct kmeans *km); // a zeroed one too

/* Mean over members of (b - a) / max(a, b): a the mean distance to the own cluster, b to the nearest other; 0 for one
 * that is alone. O(n^2 d). FULL: no memory. */
must_use enum status kmeans_silhouette(const struct kmeans *km, const float *x, double *out);

/* In eight lanes and one tree. d % 8 == 0. */
float dot_of(const float *a, const float *b, uint32_t d);
/* x becomes a unit vector; one of zeros stays. */
void unit_vector(float *x, uint32_t d);

#endif
