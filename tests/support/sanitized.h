/* support/sanitized.h - whether this test was built with a sanitizer (make SAN=...): arithmetic is
 * then up to thirty times slower, and tests that do a lot of it do less of the same. */
#ifndef SUPPORT_SANITIZED_H
#define SUPPORT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif
