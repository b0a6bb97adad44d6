// Multiplications and additions as fast as the instructions alone allow: everything stays in registers. Compiled by
// ceilings.py for one instruction set.
#include "../mlc_dask/native/int16.hpp"

using mlc::Floats;
using mlc::Ints;

constexpr int SUMS = mlc::WIDTH == 16 ? 24 : 12;

// Passes a value through without a store, so that no iteration can be merged with another one.
template <class Vector>
inline void hide(Vector& value) {
    __asm__ volatile("" : "+v"(value));
}

template <class Vector, class Step>
float repeat(long rounds, Vector x, Vector w, Step step) {
    Vector sums[SUMS] = {};
    for (long round = 0; round < rounds; round++)
#pragma GCC unroll 24
        for (int i = 0; i < SUMS; i++) {
            hide(x);
            sums[i] = step(sums[i], x, w);
        }
    Vector total{};
    for (int i = 0; i < SUMS; i++) hide(sums[i]), total += sums[i];
    return float(total[0]);
}

extern "C" {

// Additions and multiplications of a round.
int float32_operations() { return SUMS * mlc::WIDTH * 2; }
int int16_operations() { return SUMS * mlc::WIDTH * 4; }

float float32(long rounds) {
    return repeat(rounds, mlc::all(1e-3f), mlc::all(1e-3f), [](Floats s, Floats x, Floats w) { return mlc::fused(x, w, s); });
}

float int16(long rounds) {
    return repeat(rounds, Ints{} + 1, Ints{} + 1, [](Ints s, Ints x, Ints w) { return mlc::dot(s, x, w); });
}
}
