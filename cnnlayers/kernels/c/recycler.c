#include "recycler.h"
#include "memory.h"
#include "system.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLACK ((size_t)1 << 26)
#define ROUND 256               /* requests, at least */
#define WORTH ((size_t)1 << 24) /* bytes that are worth asking the system's allocator to give pages back */
#define BITS 8                  /* of a number that stands for a size */
#define BUCKETS (1 << BITS)

/* What stands at the beginning of a free block. */
typedef struct Block {
    struct Block *next;
} Block;

/* The free blocks of one size. The last that came is the first to go, so those that nobody needs lie at the bottom. */
typedef struct Shelf {
    size_t size;
    Block *top;
    size_t blocks;
    size_t unused;       /* the fewest that lay here at any time of the round */
    struct Shelf *other; /* of the same bucket */
} Shelf;

static cnn_mutex mutex = CNN_MUTEX; /* for all that follows but the clock */
static Shelf *shelves[BUCKETS];
static size_t in_use, kept;      /* bytes */
static size_t blocks;            /* in use or kept */
static size_t most, before;      /* bytes in use at once in this round, and in the one before */
static atomic_long left = ROUND; /* requests of this round that are to come */

/* A copy of the process that was made while another thread was at the shelves leaves what lay there, and counts
   its blocks on. */
static void after_fork(void) {
    if (!cnn_try_lock(&mutex)) {
        cnn_renew(&mutex);
        memset(shelves, 0, sizeof shelves);
        kept = 0;
        return;
    }
    cnn_unlock(&mutex);
}

void cnn_put_up_shelves(void) { cnn_after_fork(after_fork); }

/* Where the shelf of this size hangs, or would hang. */
static Shelf **place_of(size_t size) {
    Shelf **place = &shelves[(size >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BITS)];
    while (*place && (*place)->size != size)
        place = &(*place)->other;
    return place;
}

/* Take those at the bottom of a shelf off and put them on the pile. */
static void cut(Shelf *shelf, size_t count, Block **pile) {
    Block **bottom = &shelf->top;
    for (size_t i = count; i < shelf->blocks; i++)
        bottom = &(*bottom)->next;
    for (Block *b = *bottom, *next; b; b = next) {
        next = b->next;
        b->next = *pile;
        *pile = b;
    }
    *bottom = NULL;
    shelf->blocks -= count;
    blocks -= count;
    kept -= count * shelf->size;
}

/* Begin a round. What nobody needed during the last one comes on the pile, or all that is free; returns its bytes. */
static size_t begin_round(int all, Block **pile) {
    size_t had = kept;
    for (int i = 0; i < BUCKETS; i++)
        for (Shelf **place = &shelves[i], *shelf; (shelf = *place);) {
            cut(shelf, all ? shelf->blocks : shelf->unused, pile);
            shelf->unused = shelf->blocks;
            if (shelf->blocks) {
                place = &shelf->other;
            } else {
                *place = shelf->other;
                free(shelf);
            }
        }
    atomic_store(&left, ROUND + 8 * (long)blocks);
    before = most;
    most = in_use;
    return had - kept;
}

/* Give a pile back to the system: not under the mutex, it takes time. */
static void discard(Block *pile) {
    for (Block *next; pile; pile = next) {
        next = pile->next;
        cnn_free(pile);
    }
}

static void use(size_t size) {
    in_use += size;
    if (in_use > most)
        most = in_use;
}

static void *allocate(size_t size) {
    void *block = cnn_allocate(size);
    if (!block) {
        cnn_clear_shelves();
        block = cnn_allocate(size);
    }
    if (!block)
        return NULL;
    cnn_lock(&mutex);
    blocks++;
    use(size);
    cnn_unlock(&mutex);
    return block;
}

void *cnn_take(size_t size) {
    cnn_lock(&mutex);
    Shelf *shelf = *place_of(size);
    if (shelf && shelf->top) {
        Block *block = shelf->top;
        shelf->top = block->next;
        shelf->blocks--;
        if (shelf->blocks < shelf->unused)
            shelf->unused = shelf->blocks;
        kept -= size;
        use(size);
        cnn_unlock(&mutex);
        return block;
    }
    int enough = kept > (most > before ? most : before) + SLACK;
    cnn_unlock(&mutex);
    if (enough)
        cnn_clear_shelves();
    return allocate(size);
}

void cnn_give_back(void *address, size_t size) {
    Block *block = address;
    cnn_lock(&mutex);
    in_use -= size;
    Shelf **place = place_of(size);
    if (!*place && (*place = calloc(1, sizeof **place)))
        (*place)->size = size;
    Shelf *shelf = *place;
    if (shelf) {
        block->next = shelf->top;
        shelf->top = block;
        shelf->blocks++;
        kept += size;
    } else {
        blocks--;
    }
    cnn_unlock(&mutex);
    if (!shelf)
        cnn_free(block);
}

void cnn_count_request(void) {
    Block *pile = NULL;
    size_t freed = 0;
    if (atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed) > 0)
        return;
    cnn_lock(&mutex);
    if (atomic_load(&left) < 0) /* no other thread has begun it meanwhile */
        freed = begin_round(0, &pile);
    cnn_unlock(&mutex);
    discard(pile);
    if (freed >= WORTH)
        cnn_trim();
}

size_t cnn_clear_shelves(void) {
    Block *pile = NULL;
    cnn_lock(&mutex);
    size_t freed = begin_round(1, &pile);
    cnn_unlock(&mutex);
    discard(pile);
    return freed;
}

void cnn_count_blocks(size_t *used, size_t *free_ones) {
    cnn_lock(&mutex);
    *used = in_use;
    *free_ones = kept;
    cnn_unlock(&mutex);
}
