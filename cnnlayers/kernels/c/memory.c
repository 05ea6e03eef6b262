#define _GNU_SOURCE
#include "memory.h"

#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define HUGE_PAGE ((size_t)1 << 21)

void *cnn_allocate(size_t size) {
    void *memory;
    int large = size >= 2 * HUGE_PAGE;
    if (posix_memalign(&memory, large ? HUGE_PAGE : 64, size ? size : 1) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large)
        madvise(memory, size, MADV_HUGEPAGE); /* one page fault for 512; where it is not granted nothing is lost */
#endif
    return memory;
}

void cnn_free(void *memory) { free(memory); }

size_t cnn_cache(void) {
    static _Atomic long bytes;
    if (!bytes) {
        long found = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
        found = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
        bytes = found > 0 ? found : 1 << 19;
    }
    return (size_t)bytes;
}

void cnn_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0); /* of pages in the middle of a heap, too */
#endif
}
