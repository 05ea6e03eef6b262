/* A pool of threads that runs numbered tasks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef void (*cnn_task)(void *job, ptrdiff_t task);

/* Run task(job, i) for i = 0 .. tasks - 1 on up to `threads` threads, the caller's among them; return when all are
   done. Tasks must write to different places and must not depend on which thread runs them: then results do not
   either. */
void cnn_parallel(ptrdiff_t tasks, int threads, cnn_task task, void *job);

/* The same, each thread from its last task to its first: what the job before read and wrote last is still in its
   cache. */
void cnn_parallel_back(ptrdiff_t tasks, int threads, cnn_task task, void *job);

/* Note in a job, from any of its tasks, that something has come up: an int that is read when the job is done. */
static inline void cnn_note(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }

/* Once, before the others: a copy of the process can use them too. */
void cnn_open_pool(void);

/* How many jobs there were so far, of any number of tasks: a clock for what is kept from job to job. */
uint64_t cnn_jobs(void);

/* Release the scratch memory of the calling thread and of the pool's, once the pool is idle; returns its bytes. No
   task may call it. */
size_t cnn_release_scratch(void);
