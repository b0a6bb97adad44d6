// A block of pixels is copied from the year, filled while it is in the first-level cache, and written to the output.
// Compiled without fused multiplication and addition, whose rounding differs from numpy.
#include "gaps.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace mlc {
namespace {

constexpr size_t BLOCK = 64;

class Filler {
public:
    explicit Filler(const Year& year)
        : y_(year), series_(year.steps * year.bands * BLOCK), source_(year.steps), before_(year.steps) {}

    void run(const int64_t* at, size_t count, size_t stride, uint16_t* out) {
        bool together = true;
        for (size_t i = 1; i < count; i++) together &= at[i] == at[0] + int64_t(i);
        for (size_t row = 0; row < y_.steps * y_.bands; row++) {
            const uint16_t* from = y_.dn + row * y_.pixels;
            uint16_t* to = series_.data() + row * BLOCK;
            if (together) std::memcpy(to, from + at[0], count * sizeof *to);
            else
                for (size_t i = 0; i < count; i++) to[i] = from[at[i]];
        }
        for (size_t i = 0; i < count; i++)
            if (!complete(i, size_t(at[i]))) repair(i);
        for (size_t row = 0; row < y_.steps * y_.bands; row++)
            std::memcpy(out + row * stride, series_.data() + row * BLOCK, count * sizeof *out);
    }

private:
    uint16_t& value(size_t step, size_t band, size_t i) { return series_[(step * y_.bands + band) * BLOCK + i]; }

    // Whether a pixel has no gaps; sets `source_`, the steps from which the other steps are filled.
    bool complete(size_t i, size_t pixel) {
        bool all = true;
        for (size_t t = 0; t < y_.steps; t++) {
            bool found = true;
            if (y_.keep)
                for (size_t b = 0; b < y_.bands; b++) found &= value(t, b, i) != 0;
            else found = y_.usable[t * y_.pixels + pixel];
            source_[t] = found;
            all &= found;
        }
        return all;
    }

    void repair(size_t i) {
        const int steps = int(y_.steps);
        int last = -1, next = steps;
        for (int t = 0; t < steps; t++) before_[size_t(t)] = last = source_[size_t(t)] ? t : last;
        for (int t = steps - 1; t >= 0; t--) {
            if (source_[size_t(t)]) next = t;
            else fill_step(i, t, before_[size_t(t)], next == steps ? -1 : next);
        }
    }

    // Fills a step from the steps before and after it (-1: none); beyond either end, from the only one of the two.
    void fill_step(size_t i, int t, int before, int after) {
        const bool empty = before < 0 && after < 0;
        if (before < 0) before = after;
        if (after < 0) after = before;
        const double span = empty ? 0 : y_.days[after] - y_.days[before];
        const double weight = span > 0 ? (y_.days[t] - y_.days[before]) / span : 0;
        for (size_t b = 0; b < y_.bands; b++) {
            uint16_t& to = value(size_t(t), b, i);
            if (empty) to = 0;
            else if (!y_.keep || to == 0) {
                const double low = value(size_t(before), b, i), high = value(size_t(after), b, i);
                to = uint16_t(std::nearbyint(low + (high - low) * weight));
            }
        }
    }

    const Year& y_;
    std::vector<uint16_t> series_;
    std::vector<char> source_;
    std::vector<int> before_;
};

}  // namespace

void fill(const Year& year, const int64_t* at, size_t count, uint16_t* out) {
    Filler filler(year);
    for (size_t start = 0; start < count; start += BLOCK)
        filler.run(at + start, std::min(BLOCK, count - start), count, out + start);
}

}  // namespace mlc
