/* Memory for arrays: aligned to cache lines, in huge pages where it is large. */
#ifndef CNNLAYERS_MEMORY_H
#define CNNLAYERS_MEMORY_H

#include <stddef.h>

/* `size` bytes, to be given back by free(); NULL if there are none. */
void *cnn_allocate(size_t size);

#endif
