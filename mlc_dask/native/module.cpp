// The Python interface of the kernels that every processor runs (module _baseline): forests and gaps.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "cpu.hpp"
#include "forest.hpp"
#include "gaps.hpp"

namespace nb = nanobind;

namespace {

using namespace mlc::arrays;
using Features = nb::ndarray<const uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Means = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The caller has checked that every path ends in a leaf (mlc_dask.classifiers.forest.trees.check_trees).
class Forest {
public:
    Forest(size_t features, Column<int64_t> first_node, Column<uint16_t> feature, Column<uint16_t> threshold,
           Column<int32_t> left, Column<int32_t> right, Floats2 shares)
        : forest_(mlc::Trees{first_node.shape(0) - 1, features, shares.shape(1), first_node.data(), feature.data(),
                             threshold.data(), left.data(), right.data(), shares.data()}) {}

    void classify(Features dn, Codes position, Means share, Table shares) const {
        const size_t pixels = dn.shape(1);
        require(dn.shape(0) == forest_.features, "the series must have the number of features of the forest");
        require(position.shape(0) == pixels && share.shape(0) == pixels, "the outputs must have one value per pixel");
        float* all = data_of(shares, forest_.classes, pixels);
        nb::gil_scoped_release released;
        forest_.classify(dn.data(), pixels, position.data(), share.data(), all);
    }

private:
    mlc::Forest forest_;
};

using Flags = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Filled = nb::ndarray<uint16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

// The caller has checked that the pixels `at` exist.
void fill(Series dn, Flags usable, Column<double> days, bool keep, Column<int64_t> at, Filled out) {
    const mlc::Year year{dn.shape(0), dn.shape(1), dn.shape(2), dn.data(), usable.data(), days.data(), keep};
    require(usable.shape(0) == year.steps && usable.shape(1) == year.pixels && days.shape(0) == year.steps,
            "flags and days must have the shape of the series");
    require(out.shape(0) == year.steps && out.shape(1) == year.bands && out.shape(2) == at.shape(0),
            "the output must have one value per step, band and pixel");
    nb::gil_scoped_release released;
    mlc::fill(year, at.data(), at.shape(0), out.data());
}

}  // namespace

NB_MODULE(_baseline, m) {
    m.def("fill", &fill, nb::arg("dn"), nb::arg("usable"), nb::arg("days"), nb::arg("keep"), nb::arg("at"),
          nb::arg("out").noconvert());
    m.def("features", &mlc::features, "Instruction sets, besides the baseline, that this processor supports.");
    nb::class_<Forest>(m, "Forest")
        .def(nb::init<size_t, Column<int64_t>, Column<uint16_t>, Column<uint16_t>, Column<int32_t>, Column<int32_t>,
                      Floats2>(),
             nb::kw_only(), nb::arg("features"), nb::arg("first_node"), nb::arg("feature"), nb::arg("threshold"),
             nb::arg("left"), nb::arg("right"), nb::arg("shares"))
        .def("classify", &Forest::classify, nb::arg("dn"), nb::arg("position").noconvert(),
             nb::arg("share").noconvert(), nb::arg("shares").noconvert().none() = nb::none());
}
