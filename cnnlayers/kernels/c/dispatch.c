/* The levels and the question to the processor. setup.py defines CNN_WITH_... for each level that it has compiled. */
#include "dispatch.h"

#include <string.h>

#ifdef CNN_WITH_avx512
extern const cnn_kernels cnn_avx512_f32, cnn_avx512_f64;
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif
#ifdef CNN_WITH_avx2
extern const cnn_kernels cnn_avx2_f32, cnn_avx2_f64;
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
extern const cnn_kernels cnn_baseline_f32, cnn_baseline_f64;
static int always(void) { return 1; }

static const struct {
    const char *name;
    const cnn_kernels *tables[2];
    int (*runs_here)(void);
} levels[] = {
#ifdef CNN_WITH_avx512
    {"avx512", {&cnn_avx512_f32, &cnn_avx512_f64}, has_avx512},
#endif
#ifdef CNN_WITH_avx2
    {"avx2", {&cnn_avx2_f32, &cnn_avx2_f64}, has_avx2},
#endif
    {"baseline", {&cnn_baseline_f32, &cnn_baseline_f64}, always},
};
enum { LEVELS = sizeof levels / sizeof *levels };

const cnn_kernels *const *cnn_level(const char *name) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
#endif
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].runs_here() ? levels[i].tables : NULL;
    return NULL;
}

const char *cnn_level_name(int index) { return index < LEVELS ? levels[index].name : NULL; }
