/* What the kernels need of an operating system; system_posix.c and system_windows.c each have all of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
typedef struct {
    void *state; /* an SRWLOCK */
} cnn_mutex;
typedef struct {
    void *state; /* a CONDITION_VARIABLE */
} cnn_condition;
#define CNN_MUTEX {NULL}
#define CNN_CONDITION {NULL}
#else
#include <pthread.h>
typedef pthread_mutex_t cnn_mutex;
typedef pthread_cond_t cnn_condition;
#define CNN_MUTEX PTHREAD_MUTEX_INITIALIZER
#define CNN_CONDITION PTHREAD_COND_INITIALIZER
#endif

/* ---- threads ---- */

/* Start a thread that nobody waits for; returns 0, or not if the system gives none. */
int cnn_start_thread(void *(*run)(void *), void *argument);

/* Have end(value) called when the calling thread ends. A thread has one value; `end` is the same in all calls. */
void cnn_at_thread_end(void (*end)(void *), void *value);

void cnn_lock(cnn_mutex *);
int cnn_try_lock(cnn_mutex *); /* returns whether it is locked now */
void cnn_unlock(cnn_mutex *);
void cnn_wait(cnn_condition *, cnn_mutex *);
void cnn_wake_all(cnn_condition *);
void cnn_yield(void); /* let another thread have the processor */

/* Where a process can be copied: have in_child() called in each copy, 0 if that is arranged; and free a mutex there,
   whoever held it. */
int cnn_after_fork(void (*in_child)(void));
void cnn_renew(cnn_mutex *);

/* For the system that wakes a thread on the waker's processor, see parallel.c. The pool's workers have numbers below
   CNN_MAX_WORKERS. All three under one mutex: in a worker before it sleeps and after; in another thread before it wakes
   the workers 0 .. workers - 1, those that sleep. */
enum { CNN_MAX_WORKERS = 255 };
void cnn_falls_asleep(int worker);
void cnn_wakes_up(int worker);
void cnn_keep_off(int workers);

/* ---- time ---- */

/* Since some moment. */
uint64_t cnn_nanoseconds(void);

/* ---- memory ---- */

/* Memory aligned to a power of two, NULL if there is none; and its release. */
void *cnn_aligned(size_t alignment, size_t bytes);
void cnn_aligned_free(void *);

/* Ask for huge pages there: one page fault for 512. Where they are not granted nothing is lost. */
void cnn_want_huge_pages(void *memory, size_t bytes);

/* Have the allocator give the pages that were freed back to the system, where it keeps some. */
void cnn_trim(void);

/* Bytes of a core's L2 cache, or of its part of one that it shares; 0 if the system does not say. */
size_t cnn_l2_bytes(void);
