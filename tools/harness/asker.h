#ifndef TOOLS_HARNESS_ASKER_H_
#define TOOLS_HARNESS_ASKER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "proto/unlearn/v1/generation.pb.h"

namespace unlearn {

struct Answer {
  std::string text;
  std::vector<v1::GeneratedToken> tokens;
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  v1::Timing timing;
};

struct ScoredAnswer {
  std::vector<double> losses;  // negative log-prob of each token, in nats
};

// Asks a proxy many things at once, as its clients would. Thread-safe.
class Asker {
 public:
  Asker(const std::string& address, int at_once);

  // One call; the error of the stream if it has one.
  absl::StatusOr<Answer> Generate(const v1::GenerateRequest& request) const;
  absl::StatusOr<ScoredAnswer> Score(const v1::ScoreRequest& request) const;

  // Greedy answers to all prompts, in order.
  absl::StatusOr<std::vector<Answer>> GenerateAll(const std::vector<std::string>& prompts,
                                                  int max_tokens) const;
  struct Pair {
    std::string prompt;
    std::string completion;
  };
  // Log-probs of all completions with their end-of-sequence token, in order.
  absl::StatusOr<std::vector<ScoredAnswer>> ScoreAll(const std::vector<Pair>& pairs) const;

 private:
  template <typename Result, typename Work>
  absl::StatusOr<std::vector<Result>> RunAll(size_t count, const Work& work) const;

  std::shared_ptr<grpc::Channel> channel_;
  const int at_once_;
};

}  // namespace unlearn

#endif  // TOOLS_HARNESS_ASKER_H_
