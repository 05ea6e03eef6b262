/* Memory for arrays: aligned to cache lines, in huge pages where it is large. */
#pragma once

#include <stddef.h>

/* `size` bytes, NULL if there are none; and their release. */
void *cnn_allocate(size_t size);
void cnn_free(void *memory);

/* Bytes of a processor's L2 cache; half a megabyte if nobody says. */
size_t cnn_cache(void);
