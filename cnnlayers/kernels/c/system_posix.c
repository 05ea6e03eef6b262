/* Linux, macOS and what is like them. */
#define _GNU_SOURCE
#include "system.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

int cnn_start_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &detached, run, argument);
    pthread_attr_destroy(&detached);
    return failed;
}

static pthread_key_t key; /* of each thread's value, whose destructor is its end */
static int has_key;       /* a process may have used up all that there are: then threads end without it */
static pthread_once_t key_made = PTHREAD_ONCE_INIT;
static void (*_Atomic thread_end)(void *);

static void make_key(void) { has_key = pthread_key_create(&key, atomic_load(&thread_end)) == 0; }

void cnn_at_thread_end(void (*end)(void *), void *value) {
    atomic_store(&thread_end, end);
    pthread_once(&key_made, make_key);
    if (has_key)
        pthread_setspecific(key, value);
}

void cnn_lock(cnn_mutex *m) { pthread_mutex_lock(m); }
int cnn_try_lock(cnn_mutex *m) { return pthread_mutex_trylock(m) == 0; }
void cnn_unlock(cnn_mutex *m) { pthread_mutex_unlock(m); }
void cnn_wait(cnn_condition *c, cnn_mutex *m) { pthread_cond_wait(c, m); }
void cnn_wake_all(cnn_condition *c) { pthread_cond_broadcast(c); }
void cnn_yield(void) { sched_yield(); }

int cnn_after_fork(void (*in_child)(void)) { return pthread_atfork(NULL, NULL, in_child); }
void cnn_renew(cnn_mutex *m) { pthread_mutex_init(m, NULL); }

#ifdef __linux__
static struct {
    pthread_t thread;
    int asleep;
    int moved;
    cpu_set_t processors; /* before it was moved */
} seats[CNN_MAX_WORKERS];

void cnn_keep_off(int workers) {
    int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE)
        return;
    for (int i = 0; i < workers; i++) {
        cpu_set_t others;
        if (!seats[i].asleep || seats[i].moved ||
            pthread_getaffinity_np(seats[i].thread, sizeof(cpu_set_t), &seats[i].processors) != 0)
            continue;
        others = seats[i].processors;
        CPU_CLR(here, &others);
        if (CPU_COUNT(&others) && !CPU_EQUAL(&others, &seats[i].processors))
            seats[i].moved = pthread_setaffinity_np(seats[i].thread, sizeof(cpu_set_t), &others) == 0;
    }
}

void cnn_falls_asleep(int worker) {
    seats[worker].thread = pthread_self();
    seats[worker].asleep = 1;
}

void cnn_wakes_up(int worker) {
    seats[worker].asleep = 0;
    if (seats[worker].moved)
        pthread_setaffinity_np(pthread_self(), sizeof(cpu_set_t), &seats[worker].processors);
    seats[worker].moved = 0;
}
#else
void cnn_keep_off(int workers) { (void)workers; }
void cnn_falls_asleep(int worker) { (void)worker; }
void cnn_wakes_up(int worker) { (void)worker; }
#endif

uint64_t cnn_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void *cnn_aligned(size_t alignment, size_t bytes) {
    void *memory;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

void cnn_aligned_free(void *memory) { free(memory); }

void cnn_want_huge_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

void cnn_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0); /* of pages in the middle of a heap, too */
#endif
}

#ifdef __APPLE__
static size_t asked(const char *name) {
    int64_t number = 0; /* some are 4 bytes, the others 8; the processor's low bytes come first */
    size_t size = sizeof number;
    return sysctlbyname(name, &number, &size, NULL, 0) == 0 && number > 0 ? (size_t)number : 0;
}

size_t cnn_l2_bytes(void) {
    size_t bytes = asked("hw.perflevel0.l2cachesize"); /* of the fast cores, where there are two kinds */
    size_t cores = asked("hw.perflevel0.cpusperl2");   /* that share it */
    return bytes ? bytes / (cores ? cores : 1) : asked("hw.l2cachesize");
}
#elif defined(_SC_LEVEL2_CACHE_SIZE)
size_t cnn_l2_bytes(void) {
    long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (size_t)bytes : 0;
}
#else
size_t cnn_l2_bytes(void) { return 0; }
#endif
