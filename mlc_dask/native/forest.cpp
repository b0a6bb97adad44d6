// Digital numbers are integers, so x ≤ t and x ≤ floor(t) are the same, and a node takes eight bytes. A block of pixels
// descends one tree after the other, so a tree stays in the first-level cache. LANES pixels descend at a time, so their
// loads wait for memory together. The series of a block do not fit into that cache; the next LANES are prefetched.
#include "forest.hpp"

#include <algorithm>

namespace mlc {
namespace {

constexpr size_t BLOCK = 8192, LANES = 8;

// Lets LANES pixels descend from the nodes `at` until all are in leaves; their series: (features, LANES).
void walk(const Forest::Node* nodes, const uint16_t* series, size_t features, uint32_t* at) {
    const uintptr_t ahead = uintptr_t(series + LANES * features);
    for (size_t byte = 0; byte < LANES * features * sizeof *series; byte += 64)
        __builtin_prefetch(reinterpret_cast<const void*>(ahead + byte));
    uint32_t now[LANES], moved;  // in registers
    std::copy_n(at, LANES, now);
    do {
        moved = 0;
        for (size_t lane = 0; lane < LANES; lane++) {
            const Forest::Node node = nodes[now[lane]];
            const uint32_t next = node.next + (series[node.feature * LANES + lane] > node.threshold);
            moved |= next ^ now[lane];
            now[lane] = next;
        }
    } while (moved);
    std::copy_n(now, LANES, at);
}

bool one_hot(const float* shares, size_t rows, size_t classes) {
    return std::all_of(shares, shares + rows * classes, [](float share) { return share == 0 || share == 1; });
}

}  // namespace

// The series of a block (BLOCK / LANES, features, LANES), and the votes for its pixels (BLOCK, classes).
struct Forest::Work {
    std::vector<uint16_t> series, counts;
    std::vector<double> sums;
};

Forest::Forest(const Trees& from)
    : trees(from.trees), features(from.features), classes(from.classes), pure_(false) {
    const size_t nodes = size_t(from.first_node[trees]);
    const size_t leaves = size_t(std::count(from.left, from.left + nodes, -1));
    nodes_.reserve(nodes), row_.reserve(nodes), roots_.reserve(trees);
    shares_.assign(from.shares, from.shares + leaves * classes);
    pure_ = trees < 65536 && one_hot(from.shares, leaves, classes);
    for (size_t tree = 0; tree < trees; tree++) lay_out(from, tree);
    if (pure_)
        for (size_t node = 0; node < nodes; node++) {
            const float* row = from.shares + size_t(row_[node]) * classes;
            row_[node] = uint32_t(std::max_element(row, row + classes) - row);
        }
}

void Forest::lay_out(const Trees& from, size_t tree) {
    const size_t first = size_t(from.first_node[tree]), base = nodes_.size();
    std::vector<size_t> order{first};  // breadth first
    for (size_t i = 0; i < order.size(); i++) {
        const size_t node = order[i];
        if (from.left[node] < 0) {
            nodes_.push_back({0, 65535, uint32_t(base + i)});
            row_.push_back(uint32_t(from.right[node]));
        } else {
            nodes_.push_back({from.feature[node], from.threshold[node], uint32_t(base + order.size())});
            row_.push_back(0);
            order.push_back(first + size_t(from.left[node])), order.push_back(first + size_t(from.right[node]));
        }
    }
    roots_.push_back(uint32_t(base));
}

void Forest::vote(const uint16_t* series, size_t root, size_t count, Work& work) const {
    for (size_t p = 0; p < count; p += LANES) {
        uint32_t at[LANES];
        std::fill_n(at, LANES, uint32_t(root));
        walk(nodes_.data(), series + p * features, features, at);
        for (size_t lane = 0; lane < LANES; lane++) {
            const uint32_t row = row_[at[lane]];
            if (pure_) {
                work.counts[(p + lane) * classes + row]++;
            } else {
                double* sums = work.sums.data() + (p + lane) * classes;
                for (size_t c = 0; c < classes; c++) sums[c] += double(shares_[size_t(row) * classes + c]);
            }
        }
    }
}

void Forest::classify(const uint16_t* dn, size_t pixels, uint8_t* position, double* share, float* shares) const {
    Work work{std::vector<uint16_t>(BLOCK * features), std::vector<uint16_t>(BLOCK * classes),
              std::vector<double>(BLOCK * classes)};
    for (size_t start = 0; start < pixels; start += BLOCK) {
        const size_t count = std::min(BLOCK, pixels - start);
        for (size_t f = 0; f < features; f++)
            for (size_t p = 0; p < count; p++)
                work.series[(p / LANES * features + f) * LANES + p % LANES] = dn[f * pixels + start + p];
        std::fill(work.counts.begin(), work.counts.end(), uint16_t(0));
        std::fill(work.sums.begin(), work.sums.end(), 0.);
        for (const uint32_t root : roots_) vote(work.series.data(), root, count, work);
        for (size_t p = 0; p < count; p++) {
            double* sums = work.sums.data() + p * classes;
            // Sums of ones are exact, so counting gives the same number.
            if (pure_) std::copy_n(work.counts.data() + p * classes, classes, sums);
            const double* best = std::max_element(sums, sums + classes);
            position[start + p] = uint8_t(best - sums);
            share[start + p] = *best / double(trees);
            for (size_t c = 0; shares && c < classes; c++)
                shares[c * pixels + start + p] = float(sums[c] / double(trees));
        }
    }
}

}  // namespace mlc
