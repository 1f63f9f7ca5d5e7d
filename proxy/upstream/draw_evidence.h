#ifndef PROXY_UPSTREAM_DRAW_EVIDENCE_H_
#define PROXY_UPSTREAM_DRAW_EVIDENCE_H_

#include <array>
#include <cstdint>

#include "proxy/upstream/upstream.h"

namespace unlearn {

// Evidence that tokens were not drawn from softmax(z_M / temperature), z_M being what was told with
// each of them. All draws count, whatever came before them: with a law's tokens laid side by side
// from the most to the least likely, a token drawn from it, and a place chosen at random within
// that token, is a uniform place in [0, 1), independent of those before. The evidence is what a
// gambler makes of 1 who bets, at fair odds, on the cells of [0, 1) in which the places were most
// often so far (a Dirichlet mixture). So if the tokens are drawn from their laws, it exceeds x at
// any time with a probability of 1/x at most (Ville's inequality), for any number of draws, and
// whenever one stops. Not thread-safe.
class DrawEvidence {
 public:
  explicit DrawEvidence(double temperature) : temperature_(temperature) {}  // above 0

  // A token with its law (`row.top` is not empty), and a random number in [0, 1) of its own. At
  // another temperature than 1 it counts only among the tokens that were told, if they are two or
  // more: given that it is one of them, their law is known, that of all is not.
  void Add(const SampledRow& row, double uniform);

  double Log() const;  // natural; 0: none
  int64_t draws() const { return draws_; }
  // Mean probability, at temperature 1, of the tokens that were told.
  double known() const { return seen_ == 0 ? 0 : known_ / static_cast<double>(seen_); }

 private:
  static constexpr int kCells = 6;
  const double temperature_;
  std::array<int64_t, kCells> counts_ = {};
  int64_t draws_ = 0;
  int64_t seen_ = 0;  // with those left out
  double known_ = 0;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_DRAW_EVIDENCE_H_
