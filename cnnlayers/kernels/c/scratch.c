#include "scratch.h"
#include "parallel.h"
#include "system.h"

#include <stdlib.h>

#define SLOTS 3
#define ROUND 4096      /* jobs: more than a step of any usual net has */
#define WORTH (1 << 20) /* bytes: smaller buffers stay */

typedef struct {
    void *memory;
    size_t bytes;
    size_t most; /* that was asked for since the round began */
    uint64_t began;
} Buffer;

struct cnn_buffers {
    Buffer slots[SLOTS];
};

static _Thread_local cnn_buffers *mine;

static void release(Buffer *b) {
    cnn_aligned_free(b->memory);
    b->memory = NULL;
    b->bytes = 0;
}

size_t cnn_release_buffers(cnn_buffers *buffers) {
    size_t bytes = 0;
    for (int i = 0; buffers && i < SLOTS; i++) {
        bytes += buffers->slots[i].bytes;
        release(&buffers->slots[i]);
    }
    return bytes;
}

static void free_buffers(void *p) {
    cnn_release_buffers(p);
    free(p);
    mine = NULL; /* what ends with the thread after this may compute, too */
}

cnn_buffers *cnn_own_buffers(void) {
    if (!mine) {
        mine = calloc(1, sizeof *mine);
        if (mine)
            cnn_at_thread_end(free_buffers, mine);
    }
    return mine;
}

/* Once in a round: a buffer far larger than all that was asked for meanwhile goes, and what it is made anew with is
   enough for all of that. Returns the bytes to have. */
static size_t end_round(Buffer *b, size_t bytes) {
    uint64_t now = cnn_jobs();
    size_t enough = bytes;
    if (now - b->began < ROUND)
        return bytes;
    if (b->bytes > WORTH && b->most < b->bytes / 2) {
        release(b);
        enough = b->most;
    }
    b->most = bytes;
    b->began = now;
    return enough;
}

void *cnn_scratch(int slot, size_t bytes) {
    if (!cnn_own_buffers())
        return NULL;
    Buffer *b = &mine->slots[slot];
    if (bytes > b->most)
        b->most = bytes;
    bytes = end_round(b, bytes);
    if (b->memory && bytes <= b->bytes)
        return b->memory;
    release(b);
    bytes = (bytes / 65536 + 1) * 65536; /* and never 0, whose NULL would look like a failure */
    b->memory = cnn_aligned(64, bytes);
    b->bytes = b->memory ? bytes : 0;
    return b->memory;
}
