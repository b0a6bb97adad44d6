// The instructions that mlc_dask/native/lstm_amx.cpp is made of, in plain C++, so that any machine can test it. What
// they do is Intel's description of them, but that approximations are exact.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

typedef float __m512 __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef int64_t __m256i __attribute__((vector_size(32)));
typedef _Float16 __m512h __attribute__((vector_size(64)));
typedef _Float16 __m256h __attribute__((vector_size(32)));

struct EmulatedTile {
    uint8_t rows[16][64];
};
inline thread_local EmulatedTile emulated[8];
inline thread_local bool configured = false;

inline float emulated_bfloat(const uint8_t* at) {
    uint16_t half;
    std::memcpy(&half, at, sizeof half);
    const uint32_t word = uint32_t(half) << 16;
    float made;
    std::memcpy(&made, &word, sizeof made);
    return std::fpclassify(made) == FP_SUBNORMAL ? 0.f : made;
}

inline void _tile_loadconfig(const void* from) {
    const auto* bytes = static_cast<const uint8_t*>(from);
    configured = bytes[0] == 1 && bytes[1] == 0;
    for (int t = 0; t < 8; t++) configured &= bytes[16 + 2 * t] == 64 && bytes[48 + t] == 16;
}
inline void _tile_release() { configured = false; }
inline void need_tiles() {
    if (!configured) __builtin_trap();
}
inline void _tile_zero(int tile) { need_tiles(), emulated[tile] = {}; }
inline void _tile_loadd(int tile, const void* from, int stride) {
    need_tiles();
    for (int row = 0; row < 16; row++)
        std::memcpy(emulated[tile].rows[row], static_cast<const uint8_t*>(from) + row * stride, 64);
}
inline void _tile_stored(int tile, void* to, int stride) {
    need_tiles();
    for (int row = 0; row < 16; row++)
        std::memcpy(static_cast<uint8_t*>(to) + row * stride, emulated[tile].rows[row], 64);
}
inline void _tile_dpbf16ps(int sums, int a, int b) {
    need_tiles();
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            std::memcpy(&sum, emulated[sums].rows[m] + 4 * n, 4);
            for (int k = 0; k < 16; k++)
                for (int i = 0; i < 2; i++)
                    sum += emulated_bfloat(emulated[a].rows[m] + 4 * k + 2 * i) *
                           emulated_bfloat(emulated[b].rows[k] + 4 * n + 2 * i);
            std::memcpy(emulated[sums].rows[m] + 4 * n, &sum, 4);
        }
}

template <class To, class From>
To each(From value, float (*f)(float)) {
    To made{};
    for (unsigned i = 0; i < sizeof(To) / sizeof made[0]; i++) made[i] = f(float(value[i]));
    return made;
}
inline float same(float x) { return x; }
inline __m256h _mm512_cvtxps_ph(__m512 x) { return each<__m256h>(x, same); }
inline __m512 _mm512_cvtxph_ps(__m256h x) { return each<__m512>(x, same); }
inline __m512h _mm512_rcp_ph(__m512h x) {
    return each<__m512h>(x, [](float v) { return 1 / v; });
}
inline __m512h _mm512_reduce_ph(__m512h x, int mode) {
    if (mode != 0x09) __builtin_trap();
    return each<__m512h>(x, [](float v) { return std::isinf(v) ? 0.f : v - std::floor(v); });
}
inline __m512h _mm512_scalef_ph(__m512h x, __m512h y) {
    __m512h made{};
    for (int i = 0; i < 32; i++) made[i] = _Float16(float(x[i]) * std::exp2(std::floor(float(y[i]))));
    return made;
}

inline __m512i _mm512_castsi256_si512(__m256i x) {
    __m512i made{};
    std::memcpy(&made, &x, sizeof x);
    return made;
}
inline __m512i _mm512_inserti64x4(__m512i x, __m256i half, int at) {
    std::memcpy(reinterpret_cast<uint8_t*>(&x) + at * sizeof half, &half, sizeof half);
    return x;
}
inline __m256i _mm512_extracti64x4_epi64(__m512i x, int at) {
    __m256i half;
    std::memcpy(&half, reinterpret_cast<uint8_t*>(&x) + at * sizeof half, sizeof half);
    return half;
}
