// Votes of a Random Forest, equal bit by bit to those of mlc_dask.classifiers.forest.votes (method section 6).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlc {

// Nodes of all trees, one tree after the other. Children are numbers within their tree. For a leaf, left is -1 and
// right is its row of shares (leaves, classes).
struct Trees {
    size_t trees, features, classes;
    const int64_t* first_node;  // (trees + 1)
    const uint16_t *feature, *threshold;
    const int32_t *left, *right;
    const float* shares;
};

class Forest {
public:
    explicit Forest(const Trees& trees);
    // From dn (features, pixels): position of the best class (pixels), the first one in a tie, and its mean share over
    // the trees (pixels); unless null, also the mean shares of all classes (classes, pixels). Calls from several
    // threads at once are safe.
    void classify(const uint16_t* dn, size_t pixels, uint8_t* position, double* share, float* shares) const;

    const size_t trees, features, classes;

    // Siblings are adjacent, so the result of a comparison is the step to the next node. A leaf leads to itself.
    struct Node {
        uint16_t feature, threshold;
        uint32_t next;
    };

private:
    struct Work;

    void lay_out(const Trees& from, size_t tree);
    void vote(const uint16_t* series, size_t root, size_t count, Work& work) const;

    std::vector<Node> nodes_;
    std::vector<uint32_t> roots_, row_;  // row of shares of every node, or the class of a pure leaf
    std::vector<float> shares_;
    bool pure_;
};

}  // namespace mlc
