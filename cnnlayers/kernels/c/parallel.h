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

/* How many jobs there were so far, of any number of tasks: a clock for what is kept from job to job. */
uint64_t cnn_jobs(void);

/* Release the scratch memory of the calling thread and of the pool's, once the pool is idle; returns its bytes. No
   task may call it. */
size_t cnn_release_scratch(void);
