// Arrays that both kinds of modules take from Python.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>
#include <stdexcept>

namespace mlc::arrays {

namespace nb = nanobind;

using Floats2 = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Series = nb::ndarray<const uint16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = std::optional<nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>>;

inline void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// Memory of the optional table of the probabilities of all classes; null without a table.
inline float* data_of(const Table& table, size_t classes, size_t pixels) {
    require(!table || (table->shape(0) == classes && table->shape(1) == pixels),
            "the table of probabilities must have a row per class and a column per pixel");
    return table ? table->data() : nullptr;
}

}  // namespace mlc::arrays
