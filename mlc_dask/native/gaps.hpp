// Gaps of a year, filled pixel by pixel: bit by bit what mlc_dask.kernels.gaps does in numpy (method section 3).
#pragma once
#include <cstddef>
#include <cstdint>

namespace mlc {

struct Year {
    size_t steps, bands, pixels;
    const uint16_t* dn;     // (steps, bands, pixels)
    const bool* usable;     // (steps, pixels); not read where gaps are kept
    const double* days;     // (steps), increasing
    bool keep;              // replace digital number 0 alone
};

// out: (steps, bands, count), of the pixels `at` (count).
void fill(const Year& year, const int64_t* at, size_t count, uint16_t* out);

}  // namespace mlc
