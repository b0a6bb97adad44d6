// Memory that whole vectors and tiles can be read from and written to.
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

// All zero.
template <class T>
Buffer<T> buffer(size_t count) {
    Buffer<T> made(static_cast<T*>(::operator new[](count * sizeof(T), std::align_val_t{64})));
    std::fill_n(made.get(), count, T{});
    return made;
}

}  // namespace mlc
