/* Threads: a pool that runs numbered tasks, and a scratch buffer for each thread. */
#pragma once

#include <stddef.h>

typedef void (*cnn_task)(void *job, ptrdiff_t task);

/* Run task(job, i) for i = 0 .. tasks - 1 on up to `threads` threads, the caller's among them; return when all are done.
   Tasks must write to different places and must not depend on which thread runs them: then results do not either. */
void cnn_parallel(ptrdiff_t tasks, int threads, cnn_task task, void *job);

/* The same, each thread from its last task to its first: what the job before read and wrote last is still in its cache. */
void cnn_parallel_back(ptrdiff_t tasks, int threads, cnn_task task, void *job);

/* A buffer of at least `bytes` for the calling thread alone, aligned to 64 bytes, valid until the thread's next call with
   the same slot; NULL if memory is out. Slot 0 is for the caller of cnn_parallel, the others for its tasks. */
void *cnn_scratch(int slot, size_t bytes);
