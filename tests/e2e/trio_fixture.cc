#include "tests/e2e/trio_fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"
#include "offset/base/file.h"
#include "offset/text/tokenizer.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {
namespace {

constexpr float kNearTie = 2e-4f;

std::string Runfile(const std::string& path) {
  const char* folder = getenv("TEST_SRCDIR");
  const char* workspace = getenv("TEST_WORKSPACE");
  return folder == nullptr || workspace == nullptr ? path
                                                   : JoinPath(JoinPath(folder, workspace), path);
}

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

void Arm(grpc::ClientContext& context) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(1)));
}

bool Lasts(v1::RequestState state) {
  return state == v1::ERASED || state == v1::CANCELLED || state == v1::FAILED ||
         state == v1::NEEDS_OPERATOR;
}

}  // namespace

bool Eventually(const std::function<bool()>& condition, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

std::string IdsOf(const std::vector<v1::GeneratedToken>& tokens) {
  return absl::StrJoin(tokens, ",", [](std::string* out, const v1::GeneratedToken& token) {
    absl::StrAppend(out, token.id());
  });
}

const Programs& TrioTest::programs() {
  static const Programs* const programs = new Programs{
      Runfile("tools/cli/unlearn"), Runfile("proxy/model_server/unlearn_model_server"),
      Runfile("proxy/server/unlearn_proxy"), Runfile("trainer/server/unlearn_trainer")};
  return *programs;
}

void TrioTest::SetUp() {
  // The programs run beside each other on few cores: threads that spin would starve the others.
  setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  root_ = JoinPath(::testing::TempDir(), "trio.XXXXXX");
  ASSERT_NE(mkdtemp(&root_[0]), nullptr);
  absl::Status made = WriteTinyModel(model(), ModelOptions());
  ASSERT_TRUE(made.ok()) << made;
  made = WriteTinyModel(pair(), PairOptions());
  ASSERT_TRUE(made.ok()) << made;
}

void TrioTest::TearDown() {
  upstream_.reset();
  trio_.reset();
  if (HasFailure()) {
    for (const char* name : {"model_server", "proxy", "trainer"}) {
      const auto log = ReadFile(JoinPath(work(), absl::StrCat(name, ".log")));
      if (log.ok()) {
        std::cerr << "---- " << name << "\n"
                  << log->substr(log->size() > 3000 ? log->size() - 3000 : 0);
      }
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

std::string TrioTest::Path(const std::string& name) const { return JoinPath(root_, name); }

TinyModelOptions TrioTest::ModelOptions() {
  TinyModelOptions options;
  options.hidden = 48;
  options.max_positions = 1024;
  options.seed = 11;
  return options;
}

TinyModelOptions TrioTest::PairOptions() {
  TinyModelOptions options;
  options.max_positions = 1024;
  options.seed = 12;
  return options;
}

TrioOptions TrioTest::Options() const {
  TrioOptions options;
  options.work = work();
  options.model = model();
  options.pair = pair();
  options.model_server_flags = {"--threads=1"};
  options.proxy_flags = {"--threads=1"};
  // A learning rate that moves a random model's tokens within few steps.
  options.trainer_flags = {
      "--threads=1",          "--steps=20",          "--batch_size=14",       "--rank=4",
      "--learning_rate=0.02", "--max_forget_rate=1", "--min_keep_agreement=0"};
  return options;
}

void TrioTest::StartTrio(const TrioOptions& options) {
  auto trio = ServerTrio::Start(programs(), options);
  ASSERT_TRUE(trio.ok()) << trio.status();
  trio_ = *std::move(trio);
}

void TrioTest::StopTrio() {
  upstream_.reset();
  trio_.reset();
  std::filesystem::remove_all(work());
}

TestServer TrioTest::StartServer(const std::string& name, std::vector<std::string> arguments) {
  TestServer server;
  server.log = Path(name + ".log");
  const std::string port_file = Path(name + ".port");
  const bool has_address = std::any_of(arguments.begin(), arguments.end(), [](const auto& text) {
    return text.rfind("--listen=", 0) == 0;
  });
  if (!has_address) arguments.push_back("--listen=127.0.0.1:0");
  arguments.push_back("--port_file=" + port_file);
  unlink(port_file.c_str());  // of one that was killed
  auto process = ChildProcess::Start(arguments, server.log);
  EXPECT_TRUE(process.ok()) << process.status();
  if (!process.ok()) return server;
  server.process = *std::move(process);
  const auto address = WaitForPort(*server.process, port_file, server.log, kPatience);
  EXPECT_TRUE(address.ok()) << address.status();
  server.address = address.value_or("");
  return server;
}

CommandResult TrioTest::Run(const std::vector<std::string>& arguments) const {
  CommandResult result;
  const std::string out = Path("command.out");
  const std::string err = Path("command.err");
  std::vector<std::string> shell = {
      "/bin/sh", "-c", "out=$1; err=$2; shift 2; exec \"$@\" >\"$out\" 2>\"$err\"", "sh", out, err};
  shell.insert(shell.end(), arguments.begin(), arguments.end());
  auto process = ChildProcess::Start(shell, "");
  EXPECT_TRUE(process.ok()) << process.status();
  if (!process.ok()) return result;
  result.exit_code = (*process)->Wait();
  result.out = ReadFile(out).value_or("");
  result.err = ReadFile(err).value_or("");
  return result;
}

CommandResult TrioTest::Unlearn(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), programs().unlearn);
  return Run(arguments);
}

v1::SubmitRequest TrioTest::Request(const std::string& secret, int items) {
  v1::SubmitRequest request;
  for (int i = 0; i < items; ++i) {
    v1::Item& forget = *request.add_forget();
    forget.set_question(absl::StrCat("Where does person ", i, " live?"));
    forget.set_answer(absl::StrCat("In the town of ", secret, i, "."));
    v1::Item& retain = *request.add_retain();
    retain.set_question(absl::StrCat("What does object ", i, " weigh?"));
    retain.set_answer(absl::StrCat("About ", i + 2, " grams."));
  }
  request.mutable_settings()->set_seed(5);
  return request;
}

absl::StatusOr<std::string> TrioTest::TrySubmit(const v1::SubmitRequest& request) {
  const auto stub = v1::DeletionService::NewStub(ChannelTo(trio_->trainer_address()));
  grpc::ClientContext context;
  Arm(context);
  v1::SubmitResponse response;
  const absl::Status status = FromGrpcStatus(stub->Submit(&context, request, &response));
  if (!status.ok()) return status;
  return response.request_id();
}

std::string TrioTest::Submit(const v1::SubmitRequest& request) {
  const absl::StatusOr<std::string> id = TrySubmit(request);
  EXPECT_TRUE(id.ok()) << id.status();
  return id.value_or("");
}

v1::DeletionRequest TrioTest::Get(const std::string& id) {
  const auto stub = v1::DeletionService::NewStub(ChannelTo(trio_->trainer_address()));
  grpc::ClientContext context;
  Arm(context);
  v1::GetRequest request;
  request.set_request_id(id);
  v1::DeletionRequest response;
  const absl::Status status = FromGrpcStatus(stub->Get(&context, request, &response));
  EXPECT_TRUE(status.ok()) << status;
  return response;
}

v1::DeletionRequest TrioTest::WaitFor(
    const std::string& id, const std::function<bool(const v1::DeletionRequest&)>& wanted) {
  v1::DeletionRequest now;
  bool found = false;
  Eventually([&] {
    now = Get(id);
    found = wanted(now);
    return found || Lasts(now.state());
  });
  EXPECT_TRUE(found) << "request is " << now.ShortDebugString();
  return now;
}

v1::DeletionRequest TrioTest::WaitForState(const std::string& id, v1::RequestState state) {
  return WaitFor(id, [state](const v1::DeletionRequest& now) { return now.state() == state; });
}

v1::OffsetStatus TrioTest::OffsetStatusOf(const std::string& address) {
  const auto stub = v1::OffsetService::NewStub(ChannelTo(address));
  grpc::ClientContext context;
  Arm(context);
  v1::OffsetStatus response;
  const absl::Status status =
      FromGrpcStatus(stub->GetStatus(&context, v1::GetOffsetStatusRequest(), &response));
  EXPECT_TRUE(status.ok()) << status;
  return response;
}

std::unique_ptr<StreamingCall> TrioTest::StreamTo(const std::string& address,
                                                  const v1::GenerateRequest& request,
                                                  const std::string& token) {
  return std::make_unique<StreamingCall>(ChannelTo(address), request, token);
}

std::unique_ptr<StreamingCall> TrioTest::Stream(const v1::GenerateRequest& request,
                                                const std::string& token) {
  return StreamTo(trio_->proxy_address(), request, token);
}

v1::ScoreResponse TrioTest::Score(const v1::ScoreRequest& request, const std::string& token) {
  const auto stub = v1::GenerationService::NewStub(ChannelTo(trio_->proxy_address()));
  grpc::ClientContext context;
  Arm(context);
  if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  v1::ScoreResponse response;
  const absl::Status status = FromGrpcStatus(stub->Score(&context, request, &response));
  EXPECT_TRUE(status.ok()) << status;
  return response;
}

v1::GenerateRequest TrioTest::Prompt(const std::string& text, int max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_sampling()->set_max_tokens(max_tokens);
  request.mutable_sampling()->set_ignore_eos(true);
  return request;
}

int TrioTest::StreamsOf(const v1::OffsetStatus& status, uint64_t version) {
  for (const v1::VersionStreams& streams : status.streams()) {
    if (streams.version() == version) return streams.streams();
  }
  return 0;
}

int TrioTest::RunningStreams(const v1::OffsetStatus& status) {
  int count = 0;
  for (const v1::VersionStreams& streams : status.streams()) count += streams.streams();
  return count;
}

std::unique_ptr<VersionStore> TrioTest::OpenStore() {
  auto key = SealingKey::Load(trio_->store_key_file());
  EXPECT_TRUE(key.ok()) << key.status();
  if (!key.ok()) return nullptr;
  auto store = VersionStore::Open(trio_->store(), *std::move(key));
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

int TrioTest::TokensNotOfM(const std::string& prompt,
                           const std::vector<v1::GeneratedToken>& tokens) {
  if (upstream_ == nullptr) {
    auto upstream = OpenUpstream("native:" + trio_->model_address(), UpstreamOptions());
    EXPECT_TRUE(upstream.ok()) << upstream.status();
    if (!upstream.ok()) return -1;
    upstream_ = *std::move(upstream);
  }
  const auto tokenizer = Tokenizer::Load(JoinPath(model(), "tokenizer.json"));
  UpstreamStep step;
  step.token_ids = (*tokenizer)->Encode(prompt).value();
  const size_t first = step.token_ids.size() - 1;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) step.token_ids.push_back(tokens[i].id());
  step.positions = UpstreamStep::Positions::kAll;
  const auto session = upstream_->NewSession();
  EXPECT_TRUE(session.ok()) << session.status();
  if (!session.ok()) return -1;
  const auto logits = StepAndWait(**session, step);
  EXPECT_TRUE(logits.ok()) << logits.status();
  if (!logits.ok()) return -1;
  const size_t vocab = upstream_->info().vocab_size;
  int others = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float* const row = logits->logits.data() + (first + i) * vocab;
    const float most = *std::max_element(row, row + vocab);
    if (row[tokens[i].id()] < most - kNearTie) ++others;
  }
  return others;
}

std::map<std::string, std::string> TrioTest::Snapshot(const std::string& folder) {
  std::map<std::string, std::string> files;
  if (!FileExists(folder)) return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    files[path] = entry.is_regular_file() ? ReadFile(path).value_or("?") : "";
  }
  return files;
}

}  // namespace unlearn
