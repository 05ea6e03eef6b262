#include "memory.h"
#include "system.h"

#include <stdatomic.h>

#define HUGE_PAGE ((size_t)1 << 21)

void *cnn_allocate(size_t size) {
    int large = size >= 2 * HUGE_PAGE;
    void *memory = cnn_aligned(large ? HUGE_PAGE : 64, size ? size : 1);
    if (memory && large)
        cnn_want_huge_pages(memory, size);
    return memory;
}

void cnn_free(void *memory) { cnn_aligned_free(memory); }

size_t cnn_cache(void) {
    static atomic_size_t bytes;
    if (!atomic_load_explicit(&bytes, memory_order_relaxed)) {
        size_t found = cnn_l2_bytes();
        atomic_store_explicit(&bytes, found ? found : 1 << 19, memory_order_relaxed);
    }
    return atomic_load_explicit(&bytes, memory_order_relaxed);
}
