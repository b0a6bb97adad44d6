// LSTM inference in whole numbers of 16 bits by vector instructions, with one lane per pixel.
//
// The gates of one hidden unit over VECTORS vectors of pixels are summed in registers over all inputs,
//
//     gate[g][pixel] = Σ_k W[g][k] · x[k][pixel] + Σ_k U[g][k] · h[k][pixel],
//
// where a lane holds two neighbouring inputs, every pair of weights is read once and broadcast, and every pair of
// inputs is loaded once for four gates (int16.hpp). Cells and gates are float32. The bands of the first layer, which
// have no bound of their own, are multiplied in float32, and their sums are what the whole numbers are added to. A
// block of BLOCK pixels passes through all steps of a layer and direction before the next: the inputs of a step stay in
// the first-level cache, while the weights stream through it.
#include <algorithm>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "ends.hpp"
#include "int16.hpp"

namespace mlc {
namespace {

// 2^y to 3e-6 of it, a twentieth of what the rounding of a state takes, and exact at 0; products of three results stay
// finite.
inline Floats power(Floats y) {
    constexpr float TERMS[] = {9.5828532e-3f, 5.5906425e-2f, 2.4024099e-1f, 6.9312419e-1f, 1.f};
    return power_of_two<40>(y, TERMS);
}

// Let I = 2^i for a gate i that was scaled by -log2 e (the cell gate by twice that). Then σ(i) = 1 / (1 + I) and
// tanh(g) = (1 - G) / (1 + G), so the cell needs one division, and the state another.
inline Floats updated(const Floats (&gate)[4], float* cell) {
    const Floats I = power(gate[0]) + 1.f, F = power(gate[1]) + 1.f, G = power(gate[2]), O = power(gate[3]) + 1.f;
    const Floats both = I * (G + 1.f);
    const Floats c = fused(load(cell), both, (1.f - G) * F) / (both * F);
    store(cell, c);
    const Floats C = power(c * (-2 * LOG2E));
    return (1.f - C) / (O * (C + 1.f));
}

class Int16Engine final : public Engine {
public:
    explicit Int16Engine(const Network& network) : n_(network), pairs_((n_.hidden + 1) / 2), ends_(network) {
        for (int layer = 0; layer < n_.layers; layer++)
            for (int d = 0; d < n_.directions; d++) weights_.push_back(packed(network, layer, d));
    }

    const char* name() const override { return "int16-" MLC_LEVEL; }

    void classify(const uint16_t* dn, size_t pixels, const Answers& to) const override {
        const size_t plane = size_t(n_.directions) * pairs_ * BLOCK;
        Work w{buffer<float>(size_t(n_.steps) * n_.bands * BLOCK),
               {buffer<int32_t>(n_.steps * plane), buffer<int32_t>(n_.steps * plane)},
               buffer<float>(size_t(pairs_) * 2 * BLOCK),
               buffer<float>(size_t(n_.states()) * BLOCK)};
        for (size_t start = 0; start < pixels; start += BLOCK) {
            const int count = int(std::min<size_t>(BLOCK, pixels - start));
            ends_.normalise<BLOCK>(dn + start, pixels, count, w.input.get());
            for (int layer = 0; layer < n_.layers; layer++)
                for (int d = 0; d < n_.directions; d++) run(layer, d, w);
            for (int p = 0; p < count; p += WIDTH)
                ends_.answer<BLOCK>(w.states.get() + p, count - p, to.from(start + p));
        }
    }

private:
    struct Work {
        Buffer<float> input;
        Buffer<int32_t> output[2];
        Buffer<float> cells, states;
    };

    // One layer and direction; the hidden units are filled up to pairs by units without weights.
    struct Weights {
        Buffer<int32_t> pairs;  // (units, pairs of inputs, then of hidden outputs, 4), in steps of the row
        Buffer<float> bands;    // (units, bands, 4), the same; of the first layer alone
        Buffer<float> scale;    // (units, 4): from a sum to an exponent of two, see `updated`
    };

    int pairs_of_inputs(int layer) const { return layer ? n_.directions * pairs_ : 0; }

    Weights packed(const Network& n, int layer, int d) const {
        const size_t rows = size_t(pairs_) * 2 * 4, pairs = size_t(pairs_of_inputs(layer)) + pairs_;
        Weights made{buffer<int32_t>(rows * pairs), buffer<float>(layer ? 0 : rows * n.bands), buffer<float>(rows)};
        const int at = layer * n.directions + d, inputs = n.inputs(layer);
        std::vector<float> row(pairs * 2);
        for (int u = 0; u < n.hidden; u++)
            for (int g = 0; g < 4; g++) {
                const size_t from = size_t(g) * n.hidden + u;
                const float* of_inputs = n.input_weights[at] + from * inputs;
                gather(row, layer, of_inputs, n.hidden_weights[at] + from * n.hidden);
                const double step = step_of(row.data(), int(row.size()), layer ? 0 : bound(n, of_inputs));
                const double unit = step / STATE;
                for (size_t k = 0; k < pairs; k++)
                    made.pairs[(u * pairs + k) * 4 + g] = pair(whole(row[2 * k], step), whole(row[2 * k + 1], step));
                for (int b = 0; !layer && b < n.bands; b++)
                    made.bands[(size_t(u) * n.bands + b) * 4 + g] = float(of_inputs[b] / unit);
                made.scale[size_t(u) * 4 + g] = float(unit * (g == 2 ? -2 * LOG2E : -LOG2E));
            }
        return made;
    }

    // A row of weights in the order of the packed inputs, where every direction is filled up to a pair.
    void gather(std::vector<float>& row, int layer, const float* of_inputs, const float* of_hidden) const {
        float* to = row.data();
        for (int d = 0; layer && d < n_.directions; d++, to += 2 * pairs_)
            std::copy_n(of_inputs + size_t(d) * n_.hidden, n_.hidden, to);
        std::copy_n(of_hidden, n_.hidden, to);
    }

    // Bound of the gate of the bands: LayerNorm leaves a band within √bands, however it was rounded, before its gain.
    static double bound(const Network& n, const float* weights) {
        double sum = 0;
        for (int b = 0; b < n.bands; b++) {
            const double gain = std::fabs(double(n.norm_gain[b])), bias = std::fabs(double(n.norm_bias[b]));
            sum += std::fabs(double(weights[b])) * (std::sqrt(double(n.bands)) * gain + bias);
        }
        return sum;
    }

    // Runs one layer in one direction over all steps. The outputs of layer l are in output[l % 2].
    void run(int layer, int d, const Work& w) const {
        const size_t plane = size_t(n_.directions) * pairs_ * BLOCK, at = size_t(layer) * n_.directions + d;
        const int32_t* in = w.output[(layer + 1) % 2].get();
        int32_t* out = w.output[layer % 2].get() + size_t(d) * pairs_ * BLOCK;
        std::fill_n(w.cells.get(), size_t(pairs_) * 2 * BLOCK, 0.f);
        for (int i = 0; i < n_.steps; i++) {
            const int t = d ? n_.steps - 1 - i : i, before = d ? t + 1 : t - 1;
            const Pairs x{in + t * plane, pairs_of_inputs(layer)};
            const Pairs h = i ? Pairs{out + before * plane, pairs_} : Pairs{out, 0};
            const float* bands = layer ? nullptr : w.input.get() + size_t(t) * n_.bands * BLOCK;
            step(weights_[at], bands, x, h, w.cells.get(), out + t * plane);
        }
        std::copy_n(w.cells.get(), size_t(n_.hidden) * BLOCK, w.states.get() + at * n_.hidden * BLOCK);
    }

    void step(const Weights& weights, const float* bands, Pairs x, Pairs h, float* cells, int32_t* out) const {
        const size_t row = size_t(x.count + pairs_) * 4;
        for (int k = 0; k < pairs_; k++) {
            Gates gates[2] = {};
            for (int i = 0; i < 2; i++) {
                const size_t u = size_t(2 * k + i);
                if (bands) of_bands(gates[i], weights.bands.get() + u * n_.bands * 4, bands);
                products(gates[i], weights.pairs.get() + u * row, x, h);
            }
            update(gates, weights.scale.get() + size_t(8) * k, cells + size_t(2) * k * BLOCK, out + size_t(k) * BLOCK);
        }
    }

    // The gates of the bands, rounded to steps.
    void of_bands(Gates& gates, const float* weights, const float* bands) const {
        Floats sums[4][VECTORS] = {};
        for (int b = 0; b < n_.bands; b++, weights += 4, bands += BLOCK)
            for (int g = 0; g < 4; g++)
                for (int v = 0; v < VECTORS; v++)
                    sums[g][v] = fused(load(bands + v * WIDTH), all(weights[g]), sums[g][v]);
        for (int g = 0; g < 4; g++)
            for (int v = 0; v < VECTORS; v++) gates.sums[g][v] = rounded(sums[g][v]);
    }

    // Cells of two units (2, BLOCK), and their states as pairs (BLOCK).
    static void update(const Gates (&gates)[2], const float* scale, float* cells, int32_t* out) {
        for (int v = 0; v < VECTORS; v++) {
            Ints states[2];
            for (int i = 0; i < 2; i++) {
                Floats gate[4];
                for (int g = 0; g < 4; g++)
                    gate[g] = __builtin_convertvector(gates[i].sums[g][v], Floats) * scale[i * 4 + g];
                const Floats state = updated(gate, cells + i * BLOCK + v * WIDTH);
                states[i] = bits(fused(state, all(STATE), all(MAGIC)));
            }
            store(out + v * WIDTH, (states[0] & 0xffff) | states[1] << 16);
        }
    }

    Shape n_;
    int pairs_;  // of hidden units in one direction
    std::vector<Weights> weights_;
    Ends ends_;
};

}  // namespace

std::unique_ptr<Engine> int16_engine(const Network& network) { return std::make_unique<Int16Engine>(network); }

}  // namespace mlc
