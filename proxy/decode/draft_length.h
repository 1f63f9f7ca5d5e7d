#ifndef PROXY_DECODE_DRAFT_LENGTH_H_
#define PROXY_DECODE_DRAFT_LENGTH_H_

#include <cstdint>

namespace unlearn {

// What a call of M and a pass of the pair take, in seconds, as seen of late by all streams. A call
// costs something and each of its positions something more: a line, fitted to what was seen.
class DraftCosts {
 public:
  void SawCall(int64_t positions, double seconds);
  void SawPass(double seconds);

  // Of a call for so many positions; 0 before any was seen. A slope that nothing was seen of is 0:
  // trying shows what it is.
  double Call(int64_t positions) const;
  double pass() const { return pass_; }

 private:
  // Of what was seen, each new call counting most.
  double weight_ = 0;
  double positions_ = 0;
  double seconds_ = 0;
  double positions_squared_ = 0;
  double positions_seconds_ = 0;
  double pass_ = 0;
};

// How many tokens of a stream the pair should draft before M is asked about them all: as many as
// make tokens come fastest, by how many of its drafts stood before. The tokens are lockstep's
// whatever it says.
class DraftLength {
 public:
  static constexpr int kMost = 8;

  // drafts_only: at least one, where a request asks for drafts. Else 0 where lockstep is faster,
  // but now and then a draft to see whether it still is.
  explicit DraftLength(bool drafts_only) : drafts_only_(drafts_only) {}

  int Next(const DraftCosts& costs);
  // Of so many drafted tokens, the first `stood` stood.
  void Verified(int drafted, int stood);

  // The share of drafts that stand where those before them do.
  double agreement() const { return stood_ / compared_; }

 private:
  const bool drafts_only_;
  // As if some had been seen already; what was seen long ago counts less.
  double stood_ = 1.4;
  double compared_ = 2;
  int without_ = 0;  // tokens since the last draft
};

}  // namespace unlearn

#endif  // PROXY_DECODE_DRAFT_LENGTH_H_
