// Fills the gaps of a year pixel by pixel, with the same bits as mlc_dask.kernels.gaps in numpy (method section 3).
#pragma once
#include <cstddef>
#include <cstdint>

namespace mlc {

struct Year {
    size_t steps, bands, pixels;
    const uint16_t* dn;     // (steps, bands, pixels)
    const bool* usable;     // (steps, pixels); not read if `keep`
    const double* days;     // (steps), increasing
    bool keep;              // replace digital number 0 only
};

// out: (steps, bands, count), for the pixels `at` (count).
void fill(const Year& year, const int64_t* at, size_t count, uint16_t* out);

}  // namespace mlc
