/* The levels, and what each needs. setup.py defines CNN_WITH_... for each level that it has compiled. */
#include "dispatch.h"

#include <string.h>

#ifdef CNN_WITH_avx512
extern const cnn_kernels cnn_avx512_f32, cnn_avx512_f64;
#endif
#ifdef CNN_WITH_avx2
extern const cnn_kernels cnn_avx2_f32, cnn_avx2_f64;
#endif
extern const cnn_kernels cnn_baseline_f32, cnn_baseline_f64;

#define LEAF1_ALL (LEAF1_FMA | LEAF1_OSXSAVE | LEAF1_AVX)
#define LEAF7_AVX512 (LEAF7_AVX2 | LEAF7_AVX512F | LEAF7_AVX512DQ | LEAF7_AVX512BW | LEAF7_AVX512VL)

static const struct {
    const char *name;
    const cnn_kernels *tables[2];
    cnn_cpu needed;
} levels[] = {
#ifdef CNN_WITH_avx512
    {"avx512", {&cnn_avx512_f32, &cnn_avx512_f64}, {LEAF1_ALL, LEAF7_AVX512, KEPT_ZMM}},
#endif
#ifdef CNN_WITH_avx2
    {"avx2", {&cnn_avx2_f32, &cnn_avx2_f64}, {LEAF1_ALL, LEAF7_AVX2, KEPT_YMM}},
#endif
    {"baseline", {&cnn_baseline_f32, &cnn_baseline_f64}, {0, 0, 0}},
};
enum { LEVELS = sizeof levels / sizeof *levels };

const cnn_kernels *const *cnn_level(const char *name, cnn_cpu has) {
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(levels[i].name, name) == 0)
            return cnn_cpu_has(has, levels[i].needed) ? levels[i].tables : NULL;
    return NULL;
}

const char *cnn_level_name(int index) { return index < LEVELS ? levels[index].name : NULL; }
