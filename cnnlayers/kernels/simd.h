/* Vectors of REAL, by the vector extension of GCC and Clang: one source for every instruction set.

   VBYTES is the width of a vector register, MR the positions of a register tile; level.c sets both for each level. A tile
   holds MR x 2 accumulators, two vectors of weights and one broadcast number: 27 of 32 registers on AVX-512. */
#define VL ((int)(VBYTES / sizeof(REAL)))
#define NR (2 * VL)

typedef REAL T(vec) __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
#define VEC T(vec)
#define MASK __typeof__((VEC){0} < (VEC){0})
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, v) (*(VEC *)(p) = (v))
#define INLINE static inline __attribute__((always_inline))
#define SQRT(v) ((REAL)(sizeof(REAL) == sizeof(float) ? __builtin_sqrtf((float)(v)) : __builtin_sqrt((double)(v))))

#ifdef __clang__
#define ANY_ORDER _Pragma("clang loop vectorize(assume_safety)")
#else
#define ANY_ORDER _Pragma("GCC ivdep") /* of turns: output and input may be one array, but not overlap */
#endif
