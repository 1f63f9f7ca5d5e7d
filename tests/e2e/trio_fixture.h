#ifndef TESTS_E2E_TRIO_FIXTURE_H_
#define TESTS_E2E_TRIO_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/deletion.grpc.pb.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "proxy/upstream/upstream.h"
#include "tests/e2e/streaming_call.h"
#include "tools/harness/child_process.h"
#include "tools/harness/server_trio.h"

namespace unlearn {

// For what has to happen; generous, since test machines are shared.
constexpr absl::Duration kPatience = absl::Minutes(3);

// Looks again and again until it is true; false when it is not by then.
bool Eventually(const std::function<bool()>& condition, absl::Duration patience = kPatience);

// What a finished program said.
struct CommandResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// One server that a test starts itself.
struct TestServer {
  std::unique_ptr<ChildProcess> process;
  std::string address;
  std::string log;  // its file
};

// The real programs on tiny random models, in a folder of its own that is gone afterwards. A random
// M knows nothing, so the quality gate finds nothing left to forget.
class TrioTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  static const Programs& programs();
  std::string Path(const std::string& name) const;
  // Below it: port files, logs, store, its key, state.
  std::string work() const { return Path("work"); }

  // M and the pair's base, of different weights and one tokenizer.
  static TinyModelOptions ModelOptions();
  static TinyModelOptions PairOptions();
  std::string model() const { return Path("model"); }
  std::string pair() const { return Path("pair"); }

  // Few small steps, one thread each, a gate that lets everything pass.
  TrioOptions Options() const;
  void StartTrio(const TrioOptions& options);
  ServerTrio& trio() { return *trio_; }
  // Ends the servers and removes their folder, so that another trio can be started.
  void StopTrio();
  // nullptr (and a failed test) when it does not start.
  TestServer StartServer(const std::string& name, std::vector<std::string> arguments);
  // Runs to its end.
  CommandResult Run(const std::vector<std::string>& arguments) const;
  CommandResult Unlearn(std::vector<std::string> arguments) const;

  // Deletion requests, asked of the trio's trainer.
  static v1::SubmitRequest Request(const std::string& secret, int items = 3);
  absl::StatusOr<std::string> TrySubmit(const v1::SubmitRequest& request);
  std::string Submit(const v1::SubmitRequest& request);  // fails the test when refused
  v1::DeletionRequest Get(const std::string& id);
  // Fails the test when a lasting state comes first, or nothing in time.
  v1::DeletionRequest WaitFor(const std::string& id,
                              const std::function<bool(const v1::DeletionRequest&)>& wanted);
  v1::DeletionRequest WaitForState(const std::string& id, v1::RequestState state);

  // The trio's proxy, or another one.
  v1::OffsetStatus OffsetStatus() { return OffsetStatusOf(trio_->proxy_address()); }
  static v1::OffsetStatus OffsetStatusOf(const std::string& address);
  static std::unique_ptr<StreamingCall> StreamTo(const std::string& address,
                                                 const v1::GenerateRequest& request,
                                                 const std::string& token = "");
  std::unique_ptr<StreamingCall> Stream(const v1::GenerateRequest& request,
                                        const std::string& token = "");
  // Fails the test when it fails.
  v1::ScoreResponse Score(const v1::ScoreRequest& request, const std::string& token = "");
  static v1::GenerateRequest Prompt(const std::string& text, int max_tokens);
  // Streams that run on a version, as the proxy counts them.
  static int StreamsOf(const v1::OffsetStatus& status, uint64_t version);
  static int RunningStreams(const v1::OffsetStatus& status);

  std::unique_ptr<VersionStore> OpenStore();

  // How many of the tokens that follow the prompt are not M's most likely ones, M being asked
  // directly; a choice between two within 2e-4 of a logit counts as most likely.
  int TokensNotOfM(const std::string& prompt, const std::vector<v1::GeneratedToken>& tokens);

  // The contents of every file below, by path.
  static std::map<std::string, std::string> Snapshot(const std::string& folder);

 private:
  std::string root_;
  std::unique_ptr<ServerTrio> trio_;
  std::unique_ptr<Upstream> upstream_;
};

std::string IdsOf(const std::vector<v1::GeneratedToken>& tokens);

}  // namespace unlearn

#endif  // TESTS_E2E_TRIO_FIXTURE_H_
