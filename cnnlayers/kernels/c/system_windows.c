/* Windows, from 7 on. */
#define WIN32_LEAN_AND_MEAN
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0601
#endif
#include "system.h"

#include <windows.h>

#include <malloc.h>
#include <process.h>
#include <stdlib.h>

typedef struct {
    void *(*run)(void *);
    void *argument;
} Start;

static unsigned __stdcall begin(void *p) {
    Start start = *(Start *)p;
    free(p);
    start.run(start.argument);
    return 0;
}

int cnn_start_thread(void *(*run)(void *), void *argument) {
    Start *start = malloc(sizeof *start);
    if (!start)
        return -1;
    *start = (Start){run, argument};
    uintptr_t thread = _beginthreadex(NULL, 0, begin, start, 0, NULL);
    if (!thread) {
        free(start);
        return -1;
    }
    CloseHandle((HANDLE)thread);
    return 0;
}

static DWORD slot = FLS_OUT_OF_INDEXES; /* of each thread's value; this and the next under slot_mutex */
static void (*thread_end)(void *);
static SRWLOCK slot_mutex = SRWLOCK_INIT;

static void WINAPI call_end(void *value) { thread_end(value); }

void cnn_at_thread_end(void (*end)(void *), void *value) {
    AcquireSRWLockExclusive(&slot_mutex);
    if (slot == FLS_OUT_OF_INDEXES) {
        thread_end = end;
        slot = FlsAlloc(call_end);
    }
    ReleaseSRWLockExclusive(&slot_mutex);
    if (slot != FLS_OUT_OF_INDEXES)
        FlsSetValue(slot, value);
}

void cnn_lock(cnn_mutex *m) { AcquireSRWLockExclusive((PSRWLOCK)m); }
int cnn_try_lock(cnn_mutex *m) { return TryAcquireSRWLockExclusive((PSRWLOCK)m) != 0; }
void cnn_unlock(cnn_mutex *m) { ReleaseSRWLockExclusive((PSRWLOCK)m); }
void cnn_wait(cnn_condition *c, cnn_mutex *m) {
    SleepConditionVariableSRW((PCONDITION_VARIABLE)c, (PSRWLOCK)m, INFINITE, 0);
}
void cnn_wake_all(cnn_condition *c) { WakeAllConditionVariable((PCONDITION_VARIABLE)c); }
void cnn_yield(void) { SwitchToThread(); }

/* There is no fork. */
int cnn_after_fork(void (*in_child)(void)) {
    (void)in_child;
    return 0;
}
void cnn_renew(cnn_mutex *m) { (void)m; }

void cnn_keep_off(int workers) { (void)workers; }
void cnn_falls_asleep(int worker) { (void)worker; }
void cnn_wakes_up(int worker) { (void)worker; }

uint64_t cnn_nanoseconds(void) {
    LARGE_INTEGER count, per_second;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_second);
    uint64_t now = (uint64_t)count.QuadPart, second = (uint64_t)per_second.QuadPart;
    return now / second * 1000000000u + now % second * 1000000000u / second;
}

void *cnn_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
void cnn_aligned_free(void *memory) { _aligned_free(memory); }

/* They need a privilege that users do not have. */
void cnn_want_huge_pages(void *memory, size_t bytes) { (void)memory, (void)bytes; }

/* The heap keeps no large block. */
void cnn_trim(void) {}

/* How many cores have one of these processors, at least 1. */
static size_t cores_of(ULONG_PTR processors, const SYSTEM_LOGICAL_PROCESSOR_INFORMATION *about, size_t count) {
    size_t cores = 0;
    for (size_t i = 0; i < count; i++)
        cores += about[i].Relationship == RelationProcessorCore && (about[i].ProcessorMask & processors);
    return cores ? cores : 1;
}

/* A fast core has the largest part of one. */
size_t cnn_l2_bytes(void) {
    DWORD size = 0;
    size_t bytes = 0;
    GetLogicalProcessorInformation(NULL, &size);
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION *about = malloc(size);
    size_t count = about && GetLogicalProcessorInformation(about, &size) ? size / sizeof *about : 0;
    for (size_t i = 0; i < count; i++)
        if (about[i].Relationship == RelationCache && about[i].Cache.Level == 2) {
            size_t part = about[i].Cache.Size / cores_of(about[i].ProcessorMask, about, count);
            bytes = part > bytes ? part : bytes;
        }
    free(about);
    return bytes;
}
