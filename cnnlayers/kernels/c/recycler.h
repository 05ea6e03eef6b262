/* Memory for results, used again: fresh pages cost as much as a small layer. And given back: what nobody asks for.

   Free blocks lie on shelves, one for each size. What is kept is bounded twice. A request of a new size finds no more
   kept than was in use at once in this round or the one before, and 64 MiB; and a block that no request needed for a
   whole round goes back to the system. A round is a number of requests, well above those of a training step: it grows
   with the blocks that there are, of which a deep net has more. So a loop keeps what each of its steps needs, and a
   block is fetched anew once in a round at most.

   Any thread may call these at any time, but the first. */
#pragma once

#include <stddef.h>

/* Once, before the others. */
void cnn_put_up_shelves(void);

/* A block of `size` bytes, at least 64 of them, as cnn_allocate gives it; NULL if there is no memory. */
void *cnn_take(size_t size);

/* It is free again. */
void cnn_give_back(void *block, size_t size);

/* An array was asked for, of whatever size: the clock of the rounds. */
void cnn_count_request(void);

/* Give all free blocks back to the system, and begin a round; returns their bytes. */
size_t cnn_clear_shelves(void);

/* Bytes of the blocks that are in use, and of the free ones. */
void cnn_count_blocks(size_t *in_use, size_t *kept);
