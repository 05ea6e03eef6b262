/* Which kernels this build has and which of them the processor runs. */
#ifndef CNNLAYERS_DISPATCH_H
#define CNNLAYERS_DISPATCH_H

#include "kernels.h"

/* The tables (float, double) of a level, or NULL if it is unknown or the processor lacks an instruction of it. */
const cnn_kernels *cnn_level(const char *name);

/* The name of level `index`, fastest first; NULL behind the last. */
const char *cnn_level_name(int index);

#endif
