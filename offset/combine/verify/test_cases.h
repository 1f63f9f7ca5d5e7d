#ifndef OFFSET_COMBINE_VERIFY_TEST_CASES_H_
#define OFFSET_COMBINE_VERIFY_TEST_CASES_H_

#include <ostream>
#include <random>
#include <vector>

#include "offset/combine/combiner.h"
#include "offset/combine/verify/pair_knowledge.h"
#include "offset/combine/verify/test_laws.h"

// Random situations at one position for the property tests of this room: the true rows, what is
// told of them, and other rows of which the same could have been told.
namespace unlearn {

struct Rows {
  std::vector<float> model;     // [vocab]
  std::vector<float> delta;     // [vocab]
  std::vector<float> ensemble;  // [vocab]
};

// `count` shares of at most 1 that sum to `units`; kind 0: even, 1: as concentrated as can be, else
// random.
inline std::vector<double> Shares(double units, int count, int kind, std::mt19937_64& random) {
  std::vector<double> shares(count, 0.0);
  std::uniform_real_distribution<double> uniform(0, 1);
  double left = units;
  for (int i = 0; i < count; ++i) {
    const double least = std::max(0.0, left - (count - i - 1));
    const double most = std::min(1.0, left);
    shares[i] = kind == 0   ? units / count
                : kind == 1 ? most
                            : least + uniform(random) * (most - least);
    left -= shares[i];
  }
  std::shuffle(shares.begin(), shares.end(), random);
  return shares;
}

struct TestCase {
  Rows rows;
  double alpha = 0;
  SamplingOptions options;
  Question question;
  ModelKnowledge model_knowledge;
  bool all_rows = false;
  double bound = 0;
  double error = 0;
  std::vector<float> known_delta;

  PairKnowledge pair() const {
    return {all_rows ? rows.delta : known_delta, all_rows, bound, alpha, error};
  }

  // (Re)builds what is told.
  void Ask(const Question& asked) {
    question = asked;
    model_knowledge = KnowledgeOf(rows.model, question).value();
    known_delta.clear();
    for (const int32_t id : model_knowledge.ids()) known_delta.push_back(rows.delta[id]);
    bound = 0;
    for (size_t id = 0; id < rows.delta.size(); ++id) {
      if (model_knowledge.IndexOf(id) < 0) {
        bound = std::max(bound, std::abs(static_cast<double>(rows.delta[id])));
      }
    }
    bound *= 1.1;
    double largest = 0;
    for (size_t id = 0; id < rows.delta.size(); ++id) {
      largest = std::max(largest, std::abs(alpha * rows.delta[id]));
    }
    // Alternatives may have logits down to -200 that are not -inf.
    error = largest == 0 ? 0 : CombineRounding(200, largest * 1.2);
  }

  void Combine() {
    rows.ensemble.resize(rows.model.size());
    const absl::Status status =
        unlearn::Combine(rows.model, rows.delta, alpha, absl::MakeSpan(rows.ensemble));
    if (!status.ok()) rows.model.clear();
  }

  // Rows of which exactly the same would be known; empty if the dice gave none.
  Rows Alternative(std::mt19937_64& random) const {
    std::uniform_real_distribution<double> uniform(0, 1);
    TestCase other = *this;
    const auto ids = model_knowledge.ids();
    const int count = model_knowledge.unknown();
    const std::vector<double> truth = LogSoftmax(rows.model, question.temperature);
    const bool keep_known = random() % 2 == 0;
    const int side = random() % 3;
    double left = 1;
    std::vector<double> law(rows.model.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      const Interval bounds = model_knowledge.logprobs()[i];
      const double share = side == 0 ? 0.02 : side == 1 ? 0.98 : 0.02 + 0.96 * uniform(random);
      law[ids[i]] = keep_known ? truth[ids[i]] : bounds.lo + share * bounds.Width();
      left -= std::exp(law[ids[i]]);
    }
    const double cap = std::exp(model_knowledge.unknown_cap()) * (1 - 1e-6);
    if (count == 0 && !keep_known) return {};
    if (count > 0) {
      if (!(left > 0) || left > cap * count) return {};
      const std::vector<double> shares = Shares(left / cap, count, random() % 3, random);
      const int tilted = random() % 3;
      for (int32_t id = 0, next = 0; id < law.size(); ++id) {
        if (model_knowledge.IndexOf(id) >= 0) continue;
        law[id] = std::log(shares[next++] * cap);
        if (law[id] < -150) law[id] = -INFINITY;
        if (!all_rows) {
          const double most = bound * (1 - 1e-6);
          other.rows.delta[id] =
              tilted == 0 ? (random() % 2 == 0 ? most : -most) : (2 * uniform(random) - 1) * most;
        }
      }
    }
    for (size_t id = 0; id < law.size(); ++id) {
      other.rows.model[id] = static_cast<float>(law[id] * question.temperature);
    }
    const std::vector<double> check = LogSoftmax(other.rows.model, question.temperature);
    for (int32_t id = 0; id < check.size(); ++id) {
      const int at = model_knowledge.IndexOf(id);
      if (at >= 0 ? !model_knowledge.logprobs()[at].Contains(check[id])
                  : check[id] > model_knowledge.unknown_cap()) {
        return {};
      }
    }
    other.Combine();
    return other.rows;
  }
};

inline std::ostream& operator<<(std::ostream& out, const TestCase& test) {
  out << "alpha " << test.alpha << " T " << test.options.temperature << " min_p "
      << test.options.min_p << " top_k " << test.options.top_k << " top_p " << test.options.top_p
      << " known " << test.question.known << " error " << test.question.error << " of T "
      << test.question.temperature << " sampled " << test.question.sampled
      << (test.all_rows ? " full" : " selective") << " model";
  for (const float x : test.rows.model) out << " " << x;
  out << " delta";
  for (const float x : test.rows.delta) out << " " << x;
  return out;
}

inline TestCase RandomCase(std::mt19937_64& random) {
  const auto pick = [&](std::vector<double> from) { return from[random() % from.size()]; };
  TestCase test;
  const int vocabulary = 2 + random() % 11;
  test.rows.model = RandomLogits(vocabulary, pick({0.5, 2, 5}), random);
  test.rows.delta = RandomLogits(vocabulary, pick({0, 0.1, 1, 3}), random);
  test.alpha = pick({0, 0.5, 1, -1, 4});
  test.options.temperature = static_cast<float>(pick({0, 0.3, 1, 1.7}));
  if (random() % 3 == 0) test.options.min_p = static_cast<float>(pick({0.02, 0.2, 1}));
  if (random() % 3 == 0) test.options.top_k = 1 + random() % vocabulary;
  if (random() % 3 == 0) test.options.top_p = static_cast<float>(pick({0.3, 0.8, 0.95}));
  test.all_rows = random() % 3 == 0;
  test.Combine();
  Question question;
  question.known = 1 + random() % vocabulary;
  question.error = pick({1e-6, 1e-4, 1e-2});
  if (test.options.temperature > 0 && random() % 4 == 0) {
    question.temperature = test.options.temperature;
  }
  if (random() % 2 == 0) question.sampled = random() % vocabulary;
  test.Ask(question);
  return test;
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_TEST_CASES_H_
