// The Python interface of the kernels of networks. This source is compiled once per instruction set.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "lstm.hpp"

namespace nb = nanobind;

namespace {

using namespace mlc::arrays;
using Floats1 = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Shares = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Within a range that no sum, square or quotient of the kernels leaves; so it is false for NaN and infinity.
template <class Values>
void require_usable(const Values& values) {
    constexpr float MOST = 1e15f;
    require(std::all_of(values.data(), values.data() + values.size(), [](float v) { return std::fabs(v) <= MOST; }),
            "the values of a network must be finite, and at most 1e15 in size");
}

class Lstm {
public:
    Lstm(int steps, int layers, bool bidirectional, Floats1 mean, Floats1 std, Floats1 norm_gain, Floats1 norm_bias,
         std::vector<Floats2> input_weights, std::vector<Floats2> hidden_weights, Floats1 state_gain,
         Floats1 state_bias, Floats2 head, Floats1 head_bias) {
        for (const auto& vector : {mean, std, norm_gain, norm_bias, state_gain, state_bias, head_bias})
            require_usable(vector);
        for (const auto& matrices : {input_weights, hidden_weights, {head}})
            for (const auto& matrix : matrices) require_usable(matrix);
        require(std::all_of(std.data(), std.data() + std.size(), [](float v) { return v >= 1e-9f; }),
                "the standard deviations of the bands must be at least 1e-9");
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
        engine_ = mlc::amx_fits(n) ? mlc::amx_engine(n) : mlc::int16_engine(n);
#else
        engine_ = mlc::int16_engine(n);
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

}  // namespace

NB_MODULE(MLC_MODULE, m) {
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
}
