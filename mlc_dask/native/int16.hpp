// Products of whole numbers of 16 bits for networks: exact, so equal in every width and order.
//
// A state of the network, which is within ±1, is a multiple of 1 / STATE. A row of weights (one gate of one unit) is a
// multiple of its own step, which is so large that no sum can leave 32 bits:
//
//     Σ |w| · STATE + |start| < 2^31,
//
// where `start` is what the sum begins with: 0, or in the first layer the gate of the bands.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "lanes.hpp"

namespace mlc {
namespace {

constexpr int VECTORS = WIDTH == 16 ? 4 : 3;  // 16 of 32 registers are sums, 12 of 16
constexpr int BLOCK = VECTORS * WIDTH;        // pixels of a block
constexpr int STATE = 8192;
constexpr double ROOM = 0.999 * 2147483648.0;  // of 2^31; the rest is more than the rounding of a start takes
constexpr double LEAST = 1e-12;                // step; finer ones would change no gate, and 1 / step has to stay finite

// The step of a row of `count` weights whose start is within ±`start` in the unit of the weights. The room for sums allows
// for the rounding of every weight by half a step.
inline double step_of(const float* weights, int count, double start) {
    double most = 0, sum = start;
    for (int k = 0; k < count; k++) {
        const double size = std::fabs(double(weights[k]));
        most = std::max(most, size), sum += size;
    }
    const double room = ROOM / STATE - 0.5 * count;
    if (room <= 0) throw std::invalid_argument("a network must have fewer than 500,000 inputs per unit");
    return std::max({most / 32767, sum / room, LEAST});
}

inline int16_t whole(float weight, double step) { return int16_t(std::nearbyint(weight / step)); }

// The nearest whole numbers, ties to even.
inline Ints rounded(Floats value) {
#if defined(__AVX512F__)
    return Ints(_mm512_cvtps_epi32(__m512(value)));
#else
    return Ints(_mm256_cvtps_epi32(__m256(value)));
#endif
}

// Two neighbouring inputs of a lane, or two weights: the first in the lower half.
inline int32_t pair(int16_t first, int16_t second) {
    return int32_t(uint32_t(uint16_t(first)) | uint32_t(second) << 16);
}

// sum + x[0] · w[0] + x[1] · w[1] per lane
inline Ints dot(Ints sum, Ints x, Ints w) {
#if defined(__AVX512VNNI__)
    return Ints(_mm512_dpwssd_epi32(__m512i(sum), __m512i(x), __m512i(w)));
#elif defined(__AVX512BW__)
    return Ints(_mm512_add_epi32(__m512i(sum), _mm512_madd_epi16(__m512i(x), __m512i(w))));
#else
    return Ints(_mm256_add_epi32(__m256i(sum), _mm256_madd_epi16(__m256i(x), __m256i(w))));
#endif
}

// Pairs of inputs of a step, (count, BLOCK).
struct Pairs {
    const int32_t* rows;
    int count;
};

// The four gates of a unit, over all its inputs.
struct Gates {
    Ints sums[4][VECTORS];
};

inline __attribute__((always_inline)) void add(Ints (&sums)[4][VECTORS], const int32_t* weights, Pairs inputs) {
    const int32_t *row = inputs.rows, *end = row + size_t(inputs.count) * BLOCK;
    for (; row != end; row += BLOCK, weights += 4) {
        Ints in[VECTORS];
        for (int v = 0; v < VECTORS; v++) in[v] = load(row + v * WIDTH);
        for (int g = 0; g < 4; g++) {
            const Ints weight = Ints{} + weights[g];
            for (int v = 0; v < VECTORS; v++) sums[g][v] = dot(sums[g][v], in[v], weight);
        }
    }
}

// Adds products to what `gates` starts with; weights are (x.count + h.count, 4). Not inlined: in a larger function GCC
// keeps other constants in registers, and spills sums within the loop.
__attribute__((noinline)) void products(Gates& gates, const int32_t* weights, Pairs x, Pairs h) {
    Ints sums[4][VECTORS];
    std::memcpy(sums, gates.sums, sizeof sums);
    add(sums, weights, x);
    add(sums, weights + size_t(x.count) * 4, h);
    std::memcpy(gates.sums, sums, sizeof sums);
}

}  // namespace
}  // namespace mlc
