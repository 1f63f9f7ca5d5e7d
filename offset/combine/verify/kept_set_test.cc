#include "offset/combine/verify/kept_set.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_cases.h"

namespace unlearn {
namespace {

// Random laws, knowledge and warps; then other laws that the same knowledge allows.
TEST(KeptSetTest, CertainMembershipHoldsInEveryLawThatIsPossible) {
  std::mt19937_64 random(8);
  int decided = 0;
  int undecided = 0;
  int alternatives = 0;
  for (int i = 0; i < 60000; ++i) {
    const TestCase test = RandomCase(random);
    if (test.options.temperature == 0) continue;
    const KeptSet kept = CertifyKeptSet(
        EnsembleBounds(test.model_knowledge, test.pair(), test.options.temperature), test.options);
    for (int other = 0; other < 4; ++other) {
      const Rows rows = other == 0 ? test.rows : test.Alternative(random);
      if (rows.model.empty()) continue;
      alternatives += other > 0;
      const std::vector<int32_t> ids = KeptTokens(rows.ensemble, test.options);
      std::vector<bool> in(rows.model.size(), ids.empty());
      for (const int32_t id : ids) in[id] = true;
      for (int32_t id = 0; id < in.size(); ++id) {
        const int at = test.model_knowledge.IndexOf(id);
        const Membership said = at >= 0 ? kept.tokens[at] : kept.unknown;
        EXPECT_TRUE(said != Membership::kIn || in[id]) << test << " token " << id;
        EXPECT_TRUE(said != Membership::kOut || !in[id]) << test << " token " << id;
        (said == Membership::kUndecided ? undecided : decided) += 1;
      }
    }
  }
  // The test would pass with nothing decided; this is what it should look like.
  EXPECT_GT(decided, undecided);
  EXPECT_GT(alternatives, 50000);
}

TEST(KeptSetTest, TheKeptWeighAtLeastWhatIsPromised) {
  std::mt19937_64 random(9);
  for (int i = 0; i < 30000; ++i) {
    const TestCase test = RandomCase(random);
    if (test.options.temperature == 0) continue;
    const EnsembleBounds bounds(test.model_knowledge, test.pair(), test.options.temperature);
    const KeptSet kept = CertifyKeptSet(bounds, test.options);
    const std::vector<double> law = WarpedLaw(test.rows.ensemble, test.options);
    const std::vector<double> plain =
        WarpedLaw(test.rows.ensemble, {test.options.temperature, 0, 0, 1});
    // In units of one known token: its true weight is within its bounds.
    double share = 0;
    for (size_t id = 0; id < law.size(); ++id) share += law[id] > 0 ? plain[id] : 0;
    const double unit = plain[test.model_knowledge.ids()[0]];
    EXPECT_LE(kept.least_weight, share / unit * bounds.tokens()[0].weight.hi * (1 + 1e-9)) << test;
  }
}

TEST(KeptSetTest, EverythingKnownIsDecided) {
  std::mt19937_64 random(10);
  for (int i = 0; i < 5000; ++i) {
    TestCase test = RandomCase(random);
    if (test.options.temperature == 0) continue;
    test.Ask({100, 0, 1, -1});
    const KeptSet kept = CertifyKeptSet(
        EnsembleBounds(test.model_knowledge, test.pair(), test.options.temperature), test.options);
    EXPECT_FALSE(kept.undecided) << test;
  }
}

}  // namespace
}  // namespace unlearn
