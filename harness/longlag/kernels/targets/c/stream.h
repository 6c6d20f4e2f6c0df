/* Stores past the caches, for what is read again only much later: an ordinary store first reads the line that it
   overwrites. Other threads see them after a fence. */
#ifndef LONGLAG_STREAM_H
#define LONGLAG_STREAM_H
#include <stdint.h>
#include <string.h>

#include "portable.h"
#include "real.h"

#define STREAMED (1 << 24) /* bytes of a tensor from which on no cache holds it until it is read again */

/* Built-in functions of the compilers: including <immintrin.h> would take a tenth of the time of a kernel's build. */
#if defined(__AVX512F__)
#define STREAM_BYTES 64
#define STREAM_GCC __builtin_ia32_movntps512
#elif defined(__AVX__)
#define STREAM_BYTES 32
#define STREAM_GCC __builtin_ia32_movntps256
#elif defined(__SSE__)
#define STREAM_BYTES 16
#define STREAM_GCC __builtin_ia32_movntps
#endif
#ifdef STREAM_BYTES
typedef float line_part __attribute__((vector_size(STREAM_BYTES), may_alias));
typedef float loose_part __attribute__((vector_size(STREAM_BYTES), aligned(4), may_alias));
#ifdef __clang__
#define STREAM(to, from) __builtin_nontemporal_store(*(const loose_part *)(from), (line_part *)(to))
#else
#define STREAM(to, from) STREAM_GCC((float *)(to), *(const loose_part *)(from))
#endif
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
