/* Stores past the caches, for what is read again only much later: an ordinary store first reads the line that it
   overwrites. Other threads see them after a fence. */
#ifndef LONGLAG_STREAM_H
#define LONGLAG_STREAM_H
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "portable.h"
#include "real.h"

#define STREAMED (1 << 24) /* bytes of a tensor from which on no cache holds it until it is read again */

#if defined(__AVX512F__)
#define STREAM_BYTES 64
#define STREAM(to, from) _mm512_stream_si512((void *)(to), _mm512_loadu_si512(from))
#elif defined(__AVX__)
#define STREAM_BYTES 32
#define STREAM(to, from) _mm256_stream_si256((void *)(to), _mm256_loadu_si256((const void *)(from)))
#elif defined(__SSE2__)
#define STREAM_BYTES 16
#define STREAM(to, from) _mm_stream_si128((void *)(to), _mm_loadu_si128((const void *)(from)))
#endif

/* Copies numbers, past the caches where lines are whole */
HELPER void stream_row(real *to, const real *from, long count) {
    const long bytes = count * (long)sizeof(real);
#ifdef STREAM
    char *target = (char *)to;
    const char *source = (const char *)from;
    if ((uintptr_t)to % 64 == 0 && bytes % 64 == 0) {
        for (long k = 0; k < bytes; k += STREAM_BYTES) STREAM(target + k, source + k);
        return;
    }
#endif
    memcpy(to, from, (size_t)bytes);
}

#endif
