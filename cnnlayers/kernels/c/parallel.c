/* A pool of threads for numbered tasks.

   Why not OpenMP: its idle threads either spin for milliseconds, on the processors that others want, or sleep at
   once and take tens of microseconds to wake, as long as a small layer takes. Workers here spin for a tenth of a
   millisecond, which bridges the gap between two layers, and then sleep. A forked child, whose workers stayed with
   the parent, computes alone.

   Each thread has a share of the tasks, always the same part of the whole, and takes tasks of the others when its
   own are done. So what a layer wrote of the first half of a batch is read by the same thread in the next layer,
   from that processor's own cache.

   A job is posted by its number. A share is one atomic word: the number of its job in the upper half, how many of
   its tasks are taken in the lower. A thread takes a task by compare-and-swap on the whole word, so a worker that
   wakes late, holding the description of a job that has ended, takes no task of the next one. A finished job is
   closed (no share has a task left) before the next is described.

   Workers that a job does not want (there were more threads once) are parked: they neither spin nor wake for each
   job.

   Linux often wakes a worker on the processor of the thread that posts the job, where it waits until the job is done
   and, since nothing is left to do, goes to sleep there again: for milliseconds all is computed by one thread. So the
   poster keeps the workers that it wakes off its own processor; each has all of its processors back as soon as it
   runs. */
#include "parallel.h"
#include "float_mode.h"
#include "scratch.h"
#include "system.h"

#include <stdatomic.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ __volatile__("yield")
#else
#define RELAX() ((void)0)
#endif

#define SPIN_NANOSECONDS 100000

static cnn_mutex pool_mutex = CNN_MUTEX;         /* held by the one caller that uses the pool */
static cnn_mutex idle_mutex = CNN_MUTEX;         /* for the two conditions, and who is asleep */
static cnn_condition job_posted = CNN_CONDITION; /* sleeping workers wait for it */
static cnn_condition resized = CNN_CONDITION;    /* parked workers wait for it: more threads are wanted */
static int workers;                              /* started so far */
static int in_forked_child;                      /* whose workers stayed with the parent */

static _Atomic uint32_t job_number;
static struct {
    _Alignas(64) _Atomic uint64_t taken; /* job number << 32 | how many tasks of the share are taken */
} shares[CNN_MAX_WORKERS + 1];           /* the caller's first */
static _Atomic(cnn_task) job_task;
static _Atomic(void *) job_data;
static atomic_uint job_tasks;
static atomic_int job_threads;
static atomic_int job_backwards;
static atomic_uint tasks_done;
static atomic_int sleeping;
static _Atomic(cnn_buffers *) worker_buffers[CNN_MAX_WORKERS]; /* each worker's scratch memory, once it has begun */
static _Atomic uint64_t jobs;                                  /* posted or not */

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
                atomic_fetch_add_explicit(&tasks_done, 1, memory_order_acq_rel);
                now = atomic_load_explicit(taken, memory_order_acquire);
            }
        }
    }
}

static int wanted(int mine) { return mine < atomic_load(&job_threads) - 1; }

static void park(int mine) {
    cnn_lock(&idle_mutex);
    while (!wanted(mine))
        cnn_wait(&resized, &idle_mutex);
    cnn_unlock(&idle_mutex);
}

static void *worker(void *index) {
    int mine = (int)(intptr_t)index;
    uint32_t seen = 0;
    flush_subnormals();
    atomic_store(&worker_buffers[mine], cnn_own_buffers());
    for (;;) {
        uint64_t start = 0;
        int spins = 0;
        while (atomic_load_explicit(&job_number, memory_order_acquire) == seen) {
            RELAX();
            if (++spins % 64)
                continue;
            uint64_t now = cnn_nanoseconds();
            if (!start)
                start = now;
            if (now - start < SPIN_NANOSECONDS)
                continue;
            cnn_lock(&idle_mutex);
            atomic_fetch_add(&sleeping, 1);
            cnn_falls_asleep(mine);
            while (atomic_load(&job_number) == seen)
                cnn_wait(&job_posted, &idle_mutex);
            cnn_wakes_up(mine);
            atomic_fetch_sub(&sleeping, 1);
            cnn_unlock(&idle_mutex);
        }
        seen = atomic_load_explicit(&job_number, memory_order_acquire);
        if (wanted(mine))
            work(seen, mine + 1);
        else
            park(mine);
    }
    return NULL;
}

static void after_fork(void) {
    cnn_renew(&pool_mutex);
    in_forked_child = workers > 0;
}

void cnn_open_pool(void) { cnn_after_fork(after_fork); }

/* Start workers until there are `number`, or as many as the system gives. */
static void start_workers(int number) {
    while (workers < number) {
        if (cnn_start_thread(worker, (void *)(intptr_t)workers) != 0)
            return;
        workers++;
    }
}

static void run_job(ptrdiff_t tasks, int threads, cnn_task task, void *job, int backwards) {
    FloatMode before = flush_subnormals();
    atomic_fetch_add_explicit(&jobs, 1, memory_order_relaxed);
    /* One caller at a time has the pool; others (threads that predict with one net) compute alone meanwhile. */
    if (tasks <= 1 || threads <= 1 || in_forked_child || tasks > UINT32_MAX - 1 || !cnn_try_lock(&pool_mutex)) {
        for (ptrdiff_t i = 0; i < tasks; i++)
            task(job, backwards ? tasks - 1 - i : i);
        restore_mode(before);
        return;
    }
    if (threads > CNN_MAX_WORKERS + 1)
        threads = CNN_MAX_WORKERS + 1;
    start_workers(threads - 1);
    int more = threads > atomic_load(&job_threads);
    atomic_store_explicit(&job_task, task, memory_order_release);
    atomic_store_explicit(&job_data, job, memory_order_release);
    atomic_store_explicit(&job_tasks, (unsigned)tasks, memory_order_release);
    atomic_store(&job_threads, threads);
    atomic_store_explicit(&job_backwards, backwards, memory_order_release);
    atomic_store_explicit(&tasks_done, 0, memory_order_relaxed);
    uint32_t number = atomic_load(&job_number) + 1;
    for (int i = 0; i < threads; i++)
        atomic_store(&shares[i].taken, (uint64_t)number << 32);
    atomic_store(&job_number, number);
    if (atomic_load(&sleeping)) {
        cnn_lock(&idle_mutex);
        cnn_keep_off(threads - 1);
        cnn_wake_all(&job_posted);
        cnn_unlock(&idle_mutex);
    }
    if (more) {
        cnn_lock(&idle_mutex);
        cnn_wake_all(&resized);
        cnn_unlock(&idle_mutex);
    }
    work(number, 0);
    for (int spins = 0; atomic_load_explicit(&tasks_done, memory_order_acquire) != (unsigned)tasks; spins++) {
        RELAX();
        if (spins > 10000)
            cnn_yield();
    }
    for (int i = 0; i < threads; i++) /* close the job: a late worker may read the next one's size */
        atomic_store(&shares[i].taken, (uint64_t)number << 32 | UINT32_MAX);
    cnn_unlock(&pool_mutex);
    restore_mode(before);
}

void cnn_parallel(ptrdiff_t tasks, int threads, cnn_task task, void *job) { run_job(tasks, threads, task, job, 0); }

void cnn_parallel_back(ptrdiff_t tasks, int threads, cnn_task task, void *job) {
    run_job(tasks, threads, task, job, 1);
}

uint64_t cnn_jobs(void) { return atomic_load_explicit(&jobs, memory_order_relaxed); }

size_t cnn_release_scratch(void) {
    size_t bytes = cnn_release_buffers(cnn_own_buffers());
    if (in_forked_child) /* a worker of the parent's may have been at its buffers */
        return bytes;
    cnn_lock(&pool_mutex); /* no job: workers use no scratch memory, and see what changed with the next job */
    for (int i = 0; i < CNN_MAX_WORKERS; i++)
        bytes += cnn_release_buffers(atomic_load(&worker_buffers[i]));
    cnn_unlock(&pool_mutex);
    return bytes;
}
