// Memory aligned for reading and writing whole vectors and tiles.
#pragma once
#include <algorithm>
#include <memory>
#include <new>

namespace mlc {

template <class T>
struct FreeAligned {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
template <class T>
using Buffer = std::unique_ptr<T[], FreeAligned<T>>;

// A buffer of `count` zeros.
template <class T>
Buffer<T> buffer(size_t count) {
    Buffer<T> made(static_cast<T*>(::operator new[](count * sizeof(T), std::align_val_t{64})));
    std::fill_n(made.get(), count, T{});
    return made;
}

}  // namespace mlc
