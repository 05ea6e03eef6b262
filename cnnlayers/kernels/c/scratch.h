/* Scratch memory: a few buffers for each thread, kept from call to call. */
#pragma once

#include <stddef.h>

/* A buffer of at least `bytes` for the calling thread alone, aligned to 64 bytes, valid until the thread's next call
   with the same slot; NULL if out of memory. Slot 0 is for the caller of cnn_parallel, the others are for its tasks.
   A buffer more than twice as large as all that was asked for during 4096 jobs (parallel.h) shrinks to that. */
void *cnn_scratch(int slot, size_t bytes);

/* The calling thread's buffers, NULL if out of memory; and their release, by any thread while their own does not use
   them, which returns their bytes. */
typedef struct cnn_buffers cnn_buffers;
cnn_buffers *cnn_own_buffers(void);
size_t cnn_release_buffers(cnn_buffers *);
