// Vectors of floats and integers with one lane per pixel, as wide as the instruction set of the module allows.
//
// A lane gets the same bits in every width: products are fused where `fused` says so and nowhere else (sources are
// compiled with -ffp-contract=off), and no instruction approximates. What is here belongs to the source that includes
// it (unnamed namespace), because sources of one module may be compiled with different flags.
#pragma once
#include <cstdint>
#include <cstring>

#ifndef MLC_EMULATED
#include <immintrin.h>
#endif

namespace mlc {
namespace {

#if defined(__AVX512F__) || defined(MLC_EMULATED)
constexpr int WIDTH = 16;
#elif defined(__AVX2__)
constexpr int WIDTH = 8;
#else
#error "the kernels of networks need AVX2"
#endif

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));

inline Floats all(float value) { return value - Floats{}; }  // "+" costs an instruction, which turns -0 into 0

template <class Vector, class T>
inline Vector loaded(const T* from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
inline Floats load(const float* from) { return loaded<Floats>(from); }
inline Ints load(const int32_t* from) { return loaded<Ints>(from); }

inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
inline void store(int32_t* to, Ints value) { std::memcpy(to, &value, sizeof value); }

inline Ints bits(Floats value) { return Ints(value); }
inline Floats floats(Ints value) { return Floats(value); }

// a · b + c, rounded once. GCC makes two instructions of a comparison and a choice.
#if defined(MLC_EMULATED)
inline Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
inline Floats least(Floats a, Floats b) { return a < b ? a : b; }
inline Floats greatest(Floats a, Floats b) { return a > b ? a : b; }
#elif defined(__AVX512F__)
inline Floats fused(Floats a, Floats b, Floats c) {
    return Floats(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
}
inline Floats least(Floats a, Floats b) { return Floats(_mm512_min_ps(__m512(a), __m512(b))); }
inline Floats greatest(Floats a, Floats b) { return Floats(_mm512_max_ps(__m512(a), __m512(b))); }
#else
inline Floats fused(Floats a, Floats b, Floats c) {
    return Floats(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
}
inline Floats least(Floats a, Floats b) { return Floats(_mm256_min_ps(__m256(a), __m256(b))); }
inline Floats greatest(Floats a, Floats b) { return Floats(_mm256_max_ps(__m256(a), __m256(b))); }
#endif

// The nearest whole number of a value within ±2^22 is in the lowest bits of value + MAGIC = 1.5 · 2^23 + value.
constexpr float MAGIC = 12582912.f;

// 2^y for y limited to ±LIMIT, by a polynomial of its fraction: minimax, the highest power first.
template <int LIMIT, int TERMS>
inline Floats power_of_two(Floats y, const float (&terms)[TERMS]) {
    y = least(greatest(y, all(-LIMIT)), all(LIMIT));
    const Floats shifted = y + MAGIC, part = y - (shifted - MAGIC);
    Floats p = all(terms[0]);
    for (int i = 1; i < TERMS; i++) p = fused(p, part, all(terms[i]));
    return floats(bits(p) + (bits(shifted) << 23));
}

// To 2 units in the last place; products of two results stay finite.
inline Floats power_of_two(Floats y) {
    constexpr float TERMS[] = {1.535336188319500e-4f, 1.339887440266574e-3f, 9.618437357674640e-3f,
                               5.550332471162809e-2f, 2.402264791363012e-1f, 6.931472028550421e-1f, 1.f};
    return power_of_two<60>(y, TERMS);
}

}  // namespace
}  // namespace mlc
