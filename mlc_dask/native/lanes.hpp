// Vectors of floats with one lane per pixel, as wide as the instruction set of the module allows.
#pragma once
#include <cstdint>
#include <cstring>

namespace mlc {

#if defined(__AVX512F__) || defined(MLC_EMULATED)
constexpr const char* LEVEL = "avx512";
constexpr int WIDTH = 16, VECTORS = 3, UNITS = 2;  // 24 of 32 registers are sums
#elif defined(__AVX__)
constexpr const char* LEVEL = "avx2";
constexpr int WIDTH = 8, VECTORS = 3, UNITS = 1;  // 12 of 16
#else
constexpr const char* LEVEL = "baseline";
constexpr int WIDTH = 4, VECTORS = 3, UNITS = 1;
#endif

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));

inline Floats all(float value) { return value - Floats{}; }  // "+" costs an instruction, which turns -0 into 0

inline Floats load(const float* from) {
    Floats value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

inline Ints bits(Floats value) { return Ints(value); }
inline Floats floats(Ints value) { return Floats(value); }

inline Floats least(Floats a, Floats b) { return a < b ? a : b; }
inline Floats greatest(Floats a, Floats b) { return a > b ? a : b; }

// 2^y to 2 units in the last place. y is limited to ±LARGEST, so products of two results stay finite.
constexpr float LARGEST = 60.f;
inline Floats power_of_two(Floats y) {
    y = least(greatest(y, all(-LARGEST)), all(LARGEST));
    const Floats magic = all(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer in the lowest bits
    const Floats shifted = y + magic, part = y - (shifted - magic);
    Floats p = all(1.535336188319500e-4f);
    p = p * part + 1.339887440266574e-3f;
    p = p * part + 9.618437357674640e-3f;
    p = p * part + 5.550332471162809e-2f;
    p = p * part + 2.402264791363012e-1f;
    p = p * part + 6.931472028550421e-1f;
    p = p * part + 1.f;
    return floats(bits(p) + ((bits(shifted) - bits(magic)) << 23));
}

}  // namespace mlc
