/* Narrow groups: several are taken as one, so that their results fill a vector.

   The tile of a group with 4 filters would leave 12 of 16 lanes empty. With the channels of four such groups, one after
   the other, it has four times as many steps, for four times as many results: the work is the same, the tiles are a
   quarter as many, and what they read and write is contiguous. Between channels and filters of different groups the
   weights are 0; in dL/dW those products are left out. */
#pragma once

#include "simd.h"

/* How many of `groups` are taken as one, for results of `width` elements each. */
static ptrdiff_t groups_together(ptrdiff_t groups, ptrdiff_t width) {
    ptrdiff_t together = VL / width < groups ? VL / width : groups;
    while (together > 1 && groups % together)
        together--;
    return together > 1 ? together : 1;
}
