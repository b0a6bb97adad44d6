// Instruction sets that this processor and its operating system support.
#pragma once
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace mlc {

#if defined(__x86_64__)
// Whether matrix tiles in bfloat16 and float16 vectors are usable: the processor has them, the system saves their
// state, and Linux, which requires a request, permits this process to use them.
inline bool has_tiles() {
    unsigned a, b, c, d;
    constexpr unsigned NEEDED = 1u << 22 | 1u << 23 | 1u << 24;  // AMX-BF16, AVX512-FP16, AMX-TILE
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & NEEDED) != NEEDED) return false;
    constexpr unsigned SAVES = 1u << 27;  // OSXSAVE
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & SAVES)) return false;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr unsigned TILES = 3u << 17, DATA = 18;
    if ((low & TILES) != TILES) return false;
#if defined(__linux__)
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, DATA) == 0;
#else
    return false;
#endif
}
#endif

inline std::vector<std::string> features() {
    std::vector<std::string> found;
    // The compiler's function also asks whether the system saves the registers.
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back("avx2");
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
        found.push_back("avx512");
        if (__builtin_cpu_supports("avx512vnni")) {
            found.push_back("avx512vnni");
            if (has_tiles()) found.push_back("amx");
        }
    }
#endif
    return found;
}

}  // namespace mlc
