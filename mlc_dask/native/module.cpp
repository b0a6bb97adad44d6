// The Python interface of the kernels. This source is compiled once per instruction set, including _baseline.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu.hpp"
#include "forest.hpp"
#include "gaps.hpp"
#include "lstm.hpp"

namespace nb = nanobind;

namespace {

using Floats1 = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats2 = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Series = nb::ndarray<const uint16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Features = nb::ndarray<const uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Shares = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Means = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = std::optional<nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>>;
template <class T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// Memory of the optional table of the probabilities of all classes; null without a table.
float* data_of(const Table& table, size_t classes, size_t pixels) {
    require(!table || (table->shape(0) == classes && table->shape(1) == pixels),
            "the table of probabilities must have a row per class and a column per pixel");
    return table ? table->data() : nullptr;
}

class Lstm {
public:
    Lstm(int steps, int layers, bool bidirectional, Floats1 mean, Floats1 std, Floats1 norm_gain, Floats1 norm_bias,
         std::vector<Floats2> input_weights, std::vector<Floats2> hidden_weights, Floats1 state_gain,
         Floats1 state_bias, Floats2 head, Floats1 head_bias) {
        const int directions = bidirectional ? 2 : 1;
        require(steps > 0 && layers > 0, "a network needs at least one step and one layer");
        require(int(input_weights.size()) == layers * directions && hidden_weights.size() == input_weights.size(),
                "a network needs one weight array per layer and direction");
        mlc::Network n{};
        n.steps = steps, n.layers = layers, n.directions = directions;
        n.bands = int(mean.shape(0)), n.hidden = int(hidden_weights[0].shape(1)), n.classes = int(head.shape(0));
        require(n.bands > 0 && n.hidden > 0 && n.classes > 0 && n.classes < 256,
                "a network needs bands, units and 1 to 255 classes");
        for (const auto& vector : {std, norm_gain, norm_bias})
            require(int(vector.shape(0)) == n.bands, "the vectors of the input must have one value per band");
        require(int(state_gain.shape(0)) == n.states() && int(state_bias.shape(0)) == n.states(),
                "the vectors of the states must have one value per state");
        require(int(head.shape(1)) == n.states() && int(head_bias.shape(0)) == n.classes,
                "the head must match states and classes");
        std::vector<const float*> in, hidden;
        for (size_t i = 0; i < input_weights.size(); i++) {
            const auto &a = input_weights[i], &b = hidden_weights[i];
            const int inputs = n.inputs(int(i) / directions);
            require(int(a.shape(0)) == 4 * n.hidden && int(a.shape(1)) == inputs && int(b.shape(0)) == 4 * n.hidden &&
                        int(b.shape(1)) == n.hidden,
                    "weights must have four gates per unit and one column per input");
            in.push_back(a.data()), hidden.push_back(b.data());
        }
        n.mean = mean.data(), n.std = std.data(), n.norm_gain = norm_gain.data(), n.norm_bias = norm_bias.data();
        n.input_weights = in.data(), n.hidden_weights = hidden.data();
        n.state_gain = state_gain.data(), n.state_bias = state_bias.data();
        n.head = head.data(), n.head_bias = head_bias.data();
        shape_ = n;
#ifdef __AMX_BF16__
        engine_ = mlc::amx_fits(n) ? mlc::amx_engine(n) : mlc::simd_engine(n);
#else
        engine_ = mlc::simd_engine(n);
#endif
    }

    std::string kernel() const { return engine_->name(); }

    void classify(Series dn, Codes position, Shares probability, Table probabilities) const {
        const size_t pixels = dn.shape(2);
        require(int(dn.shape(0)) == shape_.steps && int(dn.shape(1)) == shape_.bands,
                "the series must have the steps and bands of the network");
        require(position.shape(0) == pixels && probability.shape(0) == pixels,
                "the outputs must have one value per pixel");
        const mlc::Answers to{position.data(), probability.data(),
                              data_of(probabilities, size_t(shape_.classes), pixels), pixels};
        nb::gil_scoped_release released;
        engine_->classify(dn.data(), pixels, to);
    }

private:
    mlc::Shape shape_;
    std::unique_ptr<mlc::Engine> engine_;
};

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

NB_MODULE(MLC_MODULE, m) {
    m.def("fill", &fill, nb::arg("dn"), nb::arg("usable"), nb::arg("days"), nb::arg("keep"), nb::arg("at"),
          nb::arg("out").noconvert());
    m.def("features", &mlc::features, "Instruction sets, besides the baseline, that this processor supports.");
    nb::class_<Lstm>(m, "Lstm")
        .def(nb::init<int, int, bool, Floats1, Floats1, Floats1, Floats1, std::vector<Floats2>, std::vector<Floats2>,
                      Floats1, Floats1, Floats2, Floats1>(),
             nb::kw_only(), nb::arg("steps"), nb::arg("layers"), nb::arg("bidirectional"), nb::arg("mean"),
             nb::arg("std"), nb::arg("norm_gain"), nb::arg("norm_bias"), nb::arg("input_weights"),
             nb::arg("hidden_weights"), nb::arg("state_gain"), nb::arg("state_bias"), nb::arg("head"),
             nb::arg("head_bias"))
        .def_prop_ro("kernel", &Lstm::kernel, "Instruction set on which this network runs.")
        .def("classify", &Lstm::classify, nb::arg("dn"), nb::arg("position").noconvert(),
             nb::arg("probability").noconvert(), nb::arg("probabilities").noconvert().none() = nb::none());
    nb::class_<Forest>(m, "Forest")
        .def(nb::init<size_t, Column<int64_t>, Column<uint16_t>, Column<uint16_t>, Column<int32_t>, Column<int32_t>,
                      Floats2>(),
             nb::kw_only(), nb::arg("features"), nb::arg("first_node"), nb::arg("feature"), nb::arg("threshold"),
             nb::arg("left"), nb::arg("right"), nb::arg("shares"))
        .def("classify", &Forest::classify, nb::arg("dn"), nb::arg("position").noconvert(),
             nb::arg("share").noconvert(), nb::arg("shares").noconvert().none() = nb::none());
}
