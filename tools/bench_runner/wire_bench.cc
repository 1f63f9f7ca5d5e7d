#include "tools/bench_runner/wire_bench.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/native_upstream.h"
#include "tools/bench_runner/simulated_model.h"
#include "tools/bench_runner/simulated_server.h"

namespace unlearn {
namespace {

constexpr int kPromptTokens = 16;

UpstreamInfo Info(int vocabulary) {
  UpstreamInfo info;
  info.model_id = "simulated";
  info.weights_fingerprint = "simulated";
  info.vocab_size = vocabulary;
  info.max_context = 1 << 20;
  return info;
}

// Steps of one session, each of one token.
class Steps {
 public:
  static absl::StatusOr<Steps> Begin(Upstream& upstream) {
    ASSIGN_OR_RETURN(auto session, upstream.NewSession());
    Steps steps(std::move(session), upstream.info().vocab_size);
    RETURN_IF_ERROR(steps.Step(std::vector<int32_t>(kPromptTokens, 7)).status());
    return steps;
  }

  // The same few tokens in turn, whose rows the model remembers, each after the same prompt.
  absl::StatusOr<double> OneMs() {
    length_ = kPromptTokens;
    token_ = (token_ + 1) % 16;
    const absl::Time start = absl::Now();
    ASSIGN_OR_RETURN(last_, Step({token_}));
    return absl::ToDoubleMilliseconds(absl::Now() - start);
  }

  const std::vector<float>& last_row() const { return last_.logits; }

 private:
  Steps(std::unique_ptr<UpstreamSession> session, int32_t vocabulary)
      : session_(std::move(session)), vocabulary_(vocabulary) {}

  absl::StatusOr<UpstreamLogits> Step(std::vector<int32_t> tokens) {
    UpstreamStep step;
    step.base_position = length_;
    length_ += static_cast<int32_t>(tokens.size());
    step.token_ids = std::move(tokens);
    ASSIGN_OR_RETURN(UpstreamLogits logits, StepAndWait(*session_, std::move(step)));
    if (static_cast<int32_t>(logits.logits.size()) != vocabulary_) {
      return absl::InternalError(absl::StrCat(logits.logits.size(), " logits where one row of ",
                                              vocabulary_, " was expected"));
    }
    return logits;
  }

  std::unique_ptr<UpstreamSession> session_;
  int32_t vocabulary_;
  int32_t length_ = 0;
  int32_t token_ = 0;
  UpstreamLogits last_;
};

// Both must give the same row, but for the encoding's rounding.
absl::Status CheckSame(const Steps& in_process, const Steps& native) {
  for (size_t i = 0; i < in_process.last_row().size(); ++i) {
    const double value = in_process.last_row()[i];
    if (std::abs(value - native.last_row()[i]) > std::abs(value) / 256) {
      return absl::InternalError(absl::StrCat("logit ", i, " is ", value, " in process and ",
                                              native.last_row()[i], " over native gRPC"));
    }
  }
  return absl::OkStatus();
}

absl::Status CompareWire(const WireBenchOptions& options, absl::Duration call,
                         const std::string& listen, const std::string& wire,
                         const std::string& encoding, const ReportResult& report) {
  SimulatedModelOptions simulated;
  simulated.call = call;
  SimulatedModel model(Info(options.vocabulary), nullptr, simulated);
  ASSIGN_OR_RETURN(const auto server, SimulatedServer::Start(&model, listen));
  UpstreamOptions upstream_options;
  upstream_options.encoding = encoding;
  ASSIGN_OR_RETURN(const auto upstream, NativeUpstream::Open(server->address(), upstream_options));
  ASSIGN_OR_RETURN(Steps in_process, Steps::Begin(model));
  ASSIGN_OR_RETURN(Steps native, Steps::Begin(*upstream));

  // Of each round.
  std::vector<double> in_process_p50, native_p50, added_p50, added_p90;
  for (int round = -1; round < options.rounds; ++round) {  // the first is thrown away
    std::vector<double> in_process_ms, native_ms, added;
    for (int i = 0; i < options.steps; ++i) {
      ASSIGN_OR_RETURN(const double in_process_one, in_process.OneMs());
      ASSIGN_OR_RETURN(const double native_one, native.OneMs());
      in_process_ms.push_back(in_process_one);
      native_ms.push_back(native_one);
      added.push_back(native_one - in_process_one);
    }
    RETURN_IF_ERROR(CheckSame(in_process, native));
    if (round < 0) continue;
    in_process_p50.push_back(QuantileOf(std::move(in_process_ms), 0.5));
    native_p50.push_back(QuantileOf(std::move(native_ms), 0.5));
    added_p50.push_back(QuantileOf(added, 0.5));
    added_p90.push_back(QuantileOf(std::move(added), 0.9));
  }
  BenchResult result;
  result.bench = "wire";
  result.sizes = {{"M", "simulated"},      {"M_call_ms", absl::ToDoubleMilliseconds(call)},
                  {"encoding", encoding},  {"vocab", options.vocabulary},
                  {"wire", wire},          {"streams", 1},
                  {"steps", options.steps}};
  result.unit = "ms";
  result.figures = {{"step in process, p50", SpreadOf(in_process_p50)},
                    {"step over native gRPC, p50", SpreadOf(native_p50)},
                    {"native gRPC adds, p50", SpreadOf(added_p50)},
                    {"native gRPC adds, p90", SpreadOf(added_p90)}};
  report(result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunWireBench(const WireBenchOptions& options, const ReportResult& report) {
  // A socket's path has 107 bytes at most, which a folder of the caller's may need for itself.
  char folder[] = "/tmp/unlearn-wire-XXXXXX";
  if (mkdtemp(folder) == nullptr) {
    return absl::Status(absl::ErrnoToStatusCode(errno),
                        absl::StrCat("cannot make the folder ", folder));
  }
  const absl::Cleanup remove = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  const std::string socket = absl::StrCat("unix:", JoinPath(folder, "m"));
  const std::string tcp = "127.0.0.1:0";
  for (const absl::Duration call : {absl::ZeroDuration(), absl::Milliseconds(5)}) {
    RETURN_IF_ERROR(CompareWire(options, call, tcp, "tcp", "bf16", report));
    RETURN_IF_ERROR(CompareWire(options, call, socket, "unix", "bf16", report));
  }
  return CompareWire(options, absl::ZeroDuration(), tcp, "tcp", "fp32", report);
}

}  // namespace unlearn
