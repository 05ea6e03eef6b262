/* Which kernels this build has and which of them a processor runs. */
#pragma once

#include "cpu.h"
#include "table.h"

/* The tables (float, double) of a level, or NULL if it is unknown, or such a processor lacks an instruction of it. */
const cnn_kernels *const *cnn_level(const char *name, cnn_cpu has);

/* The name of level `index`, fastest first; NULL after the last. */
const char *cnn_level_name(int index);
