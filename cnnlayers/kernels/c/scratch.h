/* Scratch memory: a few buffers for each thread, kept from call to call. */
#pragma once

#include <stddef.h>

/* A buffer of at least `bytes` for the calling thread alone, aligned to 64 bytes, valid until the thread's next call
   with the same slot; NULL if out of memory. Slot 0 is for the caller of cnn_parallel, the others are for its tasks. */
void *cnn_scratch(int slot, size_t bytes);
