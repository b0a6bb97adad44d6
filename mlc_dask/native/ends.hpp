// Both ends of the network, shared by all engines: digital numbers to normalised bands, and cell states to classes. A
// lane gets the same bits in every width (lanes.hpp).
#pragma once
#include <cmath>
#include <vector>

#include "lanes.hpp"
#include "lstm.hpp"

namespace mlc {
namespace {

class Ends {
public:
    explicit Ends(const Network& n) : steps_(n.steps), bands_(n.bands), states_(n.states()), classes_(n.classes) {
        for (int b = 0; b < bands_; b++) {
            mean_.push_back(n.mean[b]), over_std_.push_back(1 / n.std[b]);
            gain_.push_back(n.norm_gain[b]), bias_.push_back(n.norm_bias[b]);
        }
        for (int c = 0; c < classes_; c++) {
            float bias = n.head_bias[c];
            for (int s = 0; s < states_; s++) {
                head_.push_back(n.head[size_t(c) * states_ + s] * n.state_gain[s]);
                bias += n.head[size_t(c) * states_ + s] * n.state_bias[s];
            }
            head_bias_.push_back(bias);
        }
    }

    // Bands of `count` pixels, standardised and layer-normalised: (steps, bands, BLOCK) from (steps, bands, stride).
    // The content of lanes past `count` is meaningless.
    template <int BLOCK>
    void normalise(const uint16_t* dn, size_t stride, int count, float* to) const {
        for (int t = 0; t < steps_; t++) {
            float* rows = to + size_t(t) * bands_ * BLOCK;
            for (int b = 0; b < bands_; b++) {
                const uint16_t* from = dn + (size_t(t) * bands_ + b) * stride;
                for (int p = 0; p < BLOCK; p++)
                    rows[b * BLOCK + p] = p < count ? (float(from[p]) - mean_[b]) * over_std_[b] : 0.f;
            }
            for (int p = 0; p < BLOCK; p += WIDTH) {
                const auto [mu, scale] = norm<BLOCK>(rows + p, bands_);
                for (int b = 0; b < bands_; b++) {
                    float* at = rows + b * BLOCK + p;
                    store(at, fused((load(at) - mu) * scale, all(gain_[b]), all(bias_[b])));
                }
            }
        }
    }

    // LayerNorm over all cell states (states, BLOCK), the linear head, and the most probable class, the first one in a
    // tie; on request also the probabilities of all classes. Works on WIDTH pixels and answers the first `count`.
    template <int BLOCK>
    void answer(const float* states, int count, const Answers& to) const {
        const auto [mu, scale] = norm<BLOCK>(states, states_);
        Floats best = all(-INFINITY), total{};
        Ints winner{};
        for (int c = 0; c < classes_; c++) {
            Floats dot{};
            for (int s = 0; s < states_; s++)
                dot = fused(load(states + size_t(s) * BLOCK) - mu, all(head_[size_t(c) * states_ + s]), dot);
            const Floats logit = fused(dot, scale, all(head_bias_[c])) * LOG2E;
            if (to.probabilities)
                for (int i = 0; i < WIDTH && i < count; i++) to.probabilities[c * to.stride + i] = logit[i];
            const Ints better = logit > best;
            const Floats top = better ? logit : best;
            total = fused(total, power_of_two(best - top), power_of_two(logit - top));
            best = top, winner = better ? Ints{} + c : winner;
        }
        for (int i = 0; i < WIDTH && i < count; i++)
            to.position[i] = uint8_t(winner[i]), to.probability[i] = 1 / total[i];
        if (to.probabilities) exponentiate(best, total, count, to);
    }

private:
    // Replaces the logits of WIDTH pixels by probabilities; that of the best class is again 1 / total.
    void exponentiate(Floats best, Floats total, int count, const Answers& to) const {
        for (int c = 0; c < classes_; c++) {
            float* row = to.probabilities + c * to.stride;
            Floats logit{};
            for (int i = 0; i < WIDTH && i < count; i++) logit[i] = row[i];
            const Floats share = power_of_two(logit - best) / total;
            for (int i = 0; i < WIDTH && i < count; i++) row[i] = share[i];
        }
    }

    // LayerNorm over `count` rows of BLOCK: the value to subtract and the factor to multiply by.
    struct Norm {
        Floats mu, scale;
    };
    template <int BLOCK>
    static Norm norm(const float* rows, int count) {
        Floats sum{}, squares{};
        for (int r = 0; r < count; r++) sum += load(rows + size_t(r) * BLOCK);
        const Floats mu = sum / float(count);
        for (int r = 0; r < count; r++) {
            const Floats off = load(rows + size_t(r) * BLOCK) - mu;
            squares = fused(off, off, squares);
        }
        Floats scale = squares / float(count) + EPSILON;
        for (int i = 0; i < WIDTH; i++) scale[i] = 1 / std::sqrt(scale[i]);
        return {mu, scale};
    }

    int steps_, bands_, states_, classes_;
    std::vector<float> mean_, over_std_, gain_, bias_, head_, head_bias_;
};

}  // namespace
}  // namespace mlc
