/* A pool of threads for numbered tasks.

   Why not OpenMP: its idle threads either spin for milliseconds, on the processors that others want, or sleep at once and
   take tens of microseconds to wake, as long as a small layer takes. Workers here spin for a tenth of a millisecond, which
   bridges the gap between two layers, and then sleep. And a forked child, whose workers are gone, goes on alone.

   Each thread has a share of the tasks, always the same part of the whole, and takes those of the others when it has done
   its own. So what a layer wrote of the first half of a batch is read by the same thread in the next layer, from that
   processor's own cache.

   A job is published by its number, `ticket`. A share is one atomic word: the number of its job above, how many of its
   tasks are taken below. A thread takes a task by compare-and-swap on the whole word, so a worker that wakes late, with a
   job in hand that has ended, takes nothing of the next. A job that is done is closed (no share has a task left) before
   the next is described.

   Workers that a job does not want (there were more threads once) go off duty: they neither spin nor wake for each job. */
#define _GNU_SOURCE
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define RELAX() _mm_pause()
/* Subnormal numbers take 40 to 50 times as long: flush results to zero and take operands for zero (FTZ, DAZ). */
typedef unsigned int fpmode;
static fpmode flush_subnormals(void) {
    fpmode before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static void restore_mode(fpmode before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
#define RELAX() __asm__ __volatile__("yield")
typedef uint64_t fpmode;
static fpmode flush_subnormals(void) {
    fpmode before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
}
static void restore_mode(fpmode before) { __asm__ __volatile__("msr fpcr, %0" : : "r"(before)); }
#else
#define RELAX() ((void)0)
typedef int fpmode;
static fpmode flush_subnormals(void) { return 0; }
static void restore_mode(fpmode before) { (void)before; }
#endif

#define MAX_WORKERS 255
#define SPIN_NANOSECONDS 100000

static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER; /* held by the one caller that uses the pool */
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;     /* sleepers wait here */
static pthread_cond_t alarm_clock = PTHREAD_COND_INITIALIZER;
static pthread_cond_t call_up = PTHREAD_COND_INITIALIZER; /* for those off duty */
static int workers;                                       /* started so far */
static int orphaned;                                      /* in a forked child: the workers stayed with the parent */

static _Atomic uint32_t ticket; /* number of the job */
static struct {
    _Alignas(64) _Atomic uint64_t taken; /* job number << 32 | how many tasks of the share */
} shares[MAX_WORKERS + 1];               /* the caller's first */
static _Atomic(cnn_task) job_task;
static _Atomic(void *) job_data;
static atomic_uint job_tasks;
static atomic_int job_threads;
static atomic_int job_backwards;
static atomic_uint done;
static atomic_int sleepers;

static uint64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Take and run tasks of job number `number`, from thread `mine`'s share on, until none is left. */
static void work(uint32_t number, int mine) {
    cnn_task task = atomic_load_explicit(&job_task, memory_order_acquire);
    void *data = atomic_load_explicit(&job_data, memory_order_acquire);
    uint64_t tasks = atomic_load_explicit(&job_tasks, memory_order_acquire);
    uint64_t threads = (uint64_t)atomic_load_explicit(&job_threads, memory_order_acquire);
    int backwards = atomic_load_explicit(&job_backwards, memory_order_acquire);
    for (uint64_t i = 0; i < threads; i++) {
        uint64_t share = ((uint64_t)mine + i) % threads;
        uint64_t low = tasks * share / threads, high = tasks * (share + 1) / threads;
        _Atomic uint64_t *taken = &shares[share].taken;
        uint64_t now = atomic_load_explicit(taken, memory_order_acquire);
        while ((uint32_t)(now >> 32) == number && (uint32_t)now < high - low) {
            if (atomic_compare_exchange_weak_explicit(taken, &now, now + 1, memory_order_acq_rel,
                                                      memory_order_acquire)) {
                task(data, (ptrdiff_t)(backwards ? high - 1 - (uint32_t)now : low + (uint32_t)now));
                atomic_fetch_add_explicit(&done, 1, memory_order_acq_rel);
                now = atomic_load_explicit(taken, memory_order_acquire);
            }
        }
    }
}

static int wanted(int mine) { return mine < atomic_load(&job_threads) - 1; }

static void off_duty(int mine) {
    pthread_mutex_lock(&bed);
    while (!wanted(mine))
        pthread_cond_wait(&call_up, &bed);
    pthread_mutex_unlock(&bed);
}

static void *worker(void *index) {
    int mine = (int)(intptr_t)index;
    uint32_t seen = 0;
    flush_subnormals();
    for (;;) {
        uint64_t start = 0;
        int spins = 0;
        while (atomic_load_explicit(&ticket, memory_order_acquire) == seen) {
            RELAX();
            if (++spins % 64)
                continue;
            uint64_t now = nanoseconds();
            if (!start)
                start = now;
            if (now - start < SPIN_NANOSECONDS)
                continue;
            pthread_mutex_lock(&bed);
            atomic_fetch_add(&sleepers, 1);
            while (atomic_load(&ticket) == seen)
                pthread_cond_wait(&alarm_clock, &bed);
            atomic_fetch_sub(&sleepers, 1);
            pthread_mutex_unlock(&bed);
        }
        seen = atomic_load_explicit(&ticket, memory_order_acquire);
        if (wanted(mine))
            work(seen, mine + 1);
        else
            off_duty(mine);
    }
    return NULL;
}

static void in_child(void) {
    pthread_mutex_init(&callers, NULL);
    orphaned = 1;
}

/* Have `number` workers, or as many as the system gives. */
static void hire(int number) {
    static int watching;
    if (!watching)
        watching = pthread_atfork(NULL, NULL, in_child) == 0;
    while (workers < number) {
        pthread_t thread;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &detached, worker, (void *)(intptr_t)workers);
        pthread_attr_destroy(&detached);
        if (failed)
            return;
        workers++;
    }
}

static void run_job(ptrdiff_t tasks, int threads, cnn_task task, void *job, int backwards) {
    fpmode before = flush_subnormals();
    /* One caller at a time has the pool; others (threads that predict with one net) do their own work meanwhile. */
    if (tasks <= 1 || threads <= 1 || orphaned || tasks > UINT32_MAX - 1 || pthread_mutex_trylock(&callers) != 0) {
        for (ptrdiff_t i = 0; i < tasks; i++)
            task(job, backwards ? tasks - 1 - i : i);
        restore_mode(before);
        return;
    }
    if (threads > MAX_WORKERS + 1)
        threads = MAX_WORKERS + 1;
    hire(threads - 1);
    int more = threads > atomic_load(&job_threads);
    atomic_store_explicit(&job_task, task, memory_order_release);
    atomic_store_explicit(&job_data, job, memory_order_release);
    atomic_store_explicit(&job_tasks, (unsigned)tasks, memory_order_release);
    atomic_store(&job_threads, threads);
    atomic_store_explicit(&job_backwards, backwards, memory_order_release);
    atomic_store_explicit(&done, 0, memory_order_relaxed);
    uint32_t number = atomic_load(&ticket) + 1;
    for (int i = 0; i < threads; i++)
        atomic_store(&shares[i].taken, (uint64_t)number << 32);
    atomic_store(&ticket, number);
    if (atomic_load(&sleepers)) {
        pthread_mutex_lock(&bed);
        pthread_cond_broadcast(&alarm_clock);
        pthread_mutex_unlock(&bed);
    }
    if (more) {
        pthread_mutex_lock(&bed);
        pthread_cond_broadcast(&call_up);
        pthread_mutex_unlock(&bed);
    }
    work(number, 0);
    for (int spins = 0; atomic_load_explicit(&done, memory_order_acquire) != (unsigned)tasks; spins++) {
        RELAX();
        if (spins > 10000)
            sched_yield();
    }
    for (int i = 0; i < threads; i++) /* closed: a late worker may read the next job's size */
        atomic_store(&shares[i].taken, (uint64_t)number << 32 | UINT32_MAX);
    pthread_mutex_unlock(&callers);
    restore_mode(before);
}

void cnn_parallel(ptrdiff_t tasks, int threads, cnn_task task, void *job) { run_job(tasks, threads, task, job, 0); }

void cnn_parallel_back(ptrdiff_t tasks, int threads, cnn_task task, void *job) {
    run_job(tasks, threads, task, job, 1);
}

#define SLOTS 3
typedef struct {
    void *memory[SLOTS];
    size_t bytes[SLOTS];
} scratch;

static pthread_key_t scratches; /* frees a thread's buffers when the thread ends */
static pthread_once_t scratches_made = PTHREAD_ONCE_INIT;
static _Thread_local scratch *mine;

static void free_scratch(void *p) {
    for (int i = 0; i < SLOTS; i++)
        free(((scratch *)p)->memory[i]);
    free(p);
}

static void make_scratches(void) { pthread_key_create(&scratches, free_scratch); }

void *cnn_scratch(int slot, size_t bytes) {
    if (!mine) {
        pthread_once(&scratches_made, make_scratches);
        mine = calloc(1, sizeof *mine);
        if (!mine)
            return NULL;
        pthread_setspecific(scratches, mine);
    }
    if (mine->memory[slot] && bytes <= mine->bytes[slot])
        return mine->memory[slot];
    free(mine->memory[slot]);
    mine->memory[slot] = NULL;
    mine->bytes[slot] = 0;
    bytes = (bytes / 65536 + 1) * 65536; /* and never 0, whose NULL would look like a failure */
    if (posix_memalign(&mine->memory[slot], 64, bytes) != 0)
        return mine->memory[slot] = NULL;
    mine->bytes[slot] = bytes;
    return mine->memory[slot];
}
