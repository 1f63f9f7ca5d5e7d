#include "proxy/model_server/upstream_service.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <future>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "offset/base/file.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/logits_codec.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

std::vector<int32_t> RandomTokens(int count, uint64_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = random() % 300;
  return tokens;
}

// A model server in this process, and clients of it.
class UpstreamServiceTest : public testing::Test {
 protected:
  void SetUp() override { Serve({}); }
  void TearDown() override { StopServer(); }

  void StopServer() {
    runner_.reset();
    service_.reset();
    local_.reset();
  }

  void Serve(UpstreamServiceOptions options, uint64_t seed = 1) {
    StopServer();
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    const std::string folder = absl::StrCat(testing::TempDir(), "/", name);
    TinyModelOptions model;
    model.seed = seed;
    ASSERT_TRUE(WriteTinyModel(folder, model).ok());
    local_ = LocalUpstream::Open(folder, {}).value();
    service_ = std::make_unique<UpstreamServiceImpl>(local_.get(), std::move(options));
    ServerOptions server;
    server.handle_signals = false;
    server.drain_timeout = absl::ZeroDuration();
    if (!listen_.empty()) server.listen = {listen_};
    runner_ =
        ServerRunner::Start(server, {{service_.get(), v1::UpstreamService::service_full_name()}})
            .value();
  }

  std::unique_ptr<NativeUpstream> OpenNative(const std::string& encoding = "fp32") {
    UpstreamOptions options;
    options.encoding = encoding;
    return NativeUpstream::Open(runner_->addresses()[0], options).value();
  }

  std::unique_ptr<v1::UpstreamService::Stub> Stub() {
    return v1::UpstreamService::NewStub(
        grpc::CreateChannel(runner_->addresses()[0], grpc::InsecureChannelCredentials()));
  }

  // Sends the requests on one stream and returns its end; answers go to `responses`.
  grpc::Status Talk(const std::vector<v1::StepRequest>& requests,
                    std::vector<v1::StepResponse>* responses) {
    const auto stub = Stub();
    grpc::ClientContext context;
    const auto stream = stub->Session(&context);
    for (const v1::StepRequest& request : requests) stream->Write(request);
    stream->WritesDone();
    v1::StepResponse response;
    while (stream->Read(&response)) responses->push_back(response);
    return stream->Finish();
  }

  void AwaitSessions(int count) {
    // The end of a stream reaches the server after the client.
    for (int i = 0; i < 2000 && service_->sessions() != count; ++i) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    EXPECT_EQ(service_->sessions(), count);
  }

  std::string listen_;
  std::unique_ptr<LocalUpstream> local_;
  std::unique_ptr<UpstreamServiceImpl> service_;
  std::unique_ptr<ServerRunner> runner_;
};

TEST_F(UpstreamServiceTest, NativeInfoIsTheLocalOne) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const UpstreamInfo& info = native->info();
  EXPECT_EQ(info.kind, "native");
  EXPECT_EQ(info.model_id, local_->info().model_id);
  EXPECT_EQ(info.weights_fingerprint, local_->info().weights_fingerprint);
  EXPECT_EQ(info.tokenizer_fingerprint, local_->info().tokenizer_fingerprint);
  EXPECT_EQ(info.vocab_size, 300);
  EXPECT_EQ(info.max_context, 256);
  EXPECT_EQ(info.eos_token_ids, std::vector<int32_t>{256});
  EXPECT_EQ(native->Probe()->weights_fingerprint, info.weights_fingerprint);
}

TEST_F(UpstreamServiceTest, NativeFp32IsLocalBitForBit) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const std::unique_ptr<UpstreamSession> remote = native->NewSession().value();
  const std::unique_ptr<UpstreamSession> here = local_->NewSession().value();
  const std::vector<UpstreamStep> steps = {{0, RandomTokens(40, 1), Positions::kLast},
                                           {40, RandomTokens(3, 2), Positions::kAll},
                                           {43, {7}, Positions::kLast},
                                           {20, RandomTokens(30, 3), Positions::kAll},
                                           {50, {9, 10}, Positions::kNone},
                                           {51, {11}, Positions::kLast},
                                           {0, {1}, Positions::kLast},
                                           {1, {}, Positions::kNone},
                                           {1, RandomTokens(255, 4), Positions::kAll}};
  for (const UpstreamStep& step : steps) {
    const UpstreamLogits expected = StepAndWait(*here, step).value();
    const absl::StatusOr<UpstreamLogits> logits = StepAndWait(*remote, step);
    ASSERT_TRUE(logits.ok()) << logits.status();
    EXPECT_EQ(logits->rows, expected.rows);
    EXPECT_EQ(logits->logits, expected.logits);
  }
}

TEST_F(UpstreamServiceTest, NarrowEncodingsAreWithinTheirRounding) {
  for (const std::string encoding : {"fp16", "bf16"}) {
    const std::unique_ptr<NativeUpstream> native = OpenNative(encoding);
    const std::unique_ptr<UpstreamSession> remote = native->NewSession().value();
    const std::unique_ptr<UpstreamSession> here = local_->NewSession().value();
    const UpstreamStep step = {0, RandomTokens(50, 1), Positions::kAll};
    const std::vector<float> expected = StepAndWait(*here, step).value().logits;
    const std::vector<float> logits = StepAndWait(*remote, step).value().logits;
    ASSERT_EQ(logits.size(), expected.size());
    for (int row = 0; row < 50; ++row) {
      const auto begin = expected.begin() + row * 300;
      const float shift = encoding == "fp16" ? *std::max_element(begin, begin + 300) : 0;
      for (int i = row * 300; i < (row + 1) * 300; ++i) {
        const double exact = expected[i] - shift;
        // Half a unit in the last of 11 or 8 bits.
        const double bound = std::abs(exact) * (encoding == "fp16" ? 0x1p-11 : 0x1p-8) + 1e-7;
        ASSERT_NEAR(logits[i], exact, bound) << encoding << " " << i;
      }
    }
  }
}

TEST_F(UpstreamServiceTest, ManyNativeSessionsEqualSingleOnes) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  constexpr int kSessions = 100;
  std::vector<std::unique_ptr<UpstreamSession>> sessions(kSessions);
  std::vector<std::promise<absl::StatusOr<UpstreamLogits>>> prompts(kSessions);
  std::vector<std::promise<absl::StatusOr<UpstreamLogits>>> nexts(kSessions);
  for (int s = 0; s < kSessions; ++s) {
    sessions[s] = native->NewSession().value();
    const int length = 10 + s;
    // The second is sent before the first is answered.
    sessions[s]->Step({0, RandomTokens(length, s), Positions::kLast},
                      [&, s](absl::StatusOr<UpstreamLogits> l) { prompts[s].set_value(l); });
    sessions[s]->Step({length, {s}, Positions::kLast},
                      [&, s](absl::StatusOr<UpstreamLogits> l) { nexts[s].set_value(l); });
  }
  const std::unique_ptr<UpstreamSession> single = local_->NewSession().value();
  for (int s = 0; s < kSessions; ++s) {
    const int length = 10 + s;
    for (auto* promise : {&prompts[s], &nexts[s]}) {
      const UpstreamStep step = promise == &prompts[s]
                                    ? UpstreamStep{0, RandomTokens(length, s), Positions::kLast}
                                    : UpstreamStep{length, {s}, Positions::kLast};
      const UpstreamLogits expected = StepAndWait(*single, step).value();
      const absl::StatusOr<UpstreamLogits> logits = promise->get_future().get();
      ASSERT_TRUE(logits.ok()) << logits.status();
      ASSERT_EQ(logits->logits.size(), 300);
      for (int i = 0; i < 300; ++i) ASSERT_NEAR(logits->logits[i], expected.logits[i], 1e-4);
    }
  }
  EXPECT_EQ(service_->sessions(), kSessions);
  sessions.clear();
  AwaitSessions(0);
  EXPECT_TRUE(StepAndWait(*single, {0, {1}, Positions::kLast}).ok());
  EXPECT_EQ(local_->free_tokens(), local_->total_tokens() - 16);
}

TEST_F(UpstreamServiceTest, LargeStepsAreSplitUnderneath) {
  NativeConnection connection;
  connection.channel =
      grpc::CreateChannel(runner_->addresses()[0], grpc::InsecureChannelCredentials());
  connection.address = runner_->addresses()[0];
  connection.info = local_->info();
  connection.step_timeout = absl::Seconds(60);
  connection.max_answer_bytes = 7 * 300 * 4 + 11;
  const std::unique_ptr<UpstreamSession> remote =
      NewNativeSession(std::make_shared<const NativeConnection>(std::move(connection)));
  const std::unique_ptr<UpstreamSession> here = local_->NewSession().value();
  for (const UpstreamStep& step : {UpstreamStep{0, RandomTokens(50, 1), Positions::kAll},
                                   UpstreamStep{0, RandomTokens(50, 2), Positions::kLast},
                                   UpstreamStep{21, RandomTokens(21, 2), Positions::kAll}}) {
    const UpstreamLogits logits = StepAndWait(*remote, step).value();
    const UpstreamLogits expected = StepAndWait(*here, step).value();
    EXPECT_EQ(logits.rows, expected.rows);
    ASSERT_EQ(logits.logits.size(), expected.logits.size());
    for (size_t i = 0; i < logits.logits.size(); ++i) {
      ASSERT_NEAR(logits.logits[i], expected.logits[i], 1e-4);
    }
  }
}

TEST_F(UpstreamServiceTest, RefusedStepsDoNotBreakANativeSession) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const std::unique_ptr<UpstreamSession> session = native->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1, 2, 3}, Positions::kLast}).ok());
  for (const UpstreamStep& bad :
       {UpstreamStep{4, {1}, Positions::kLast}, UpstreamStep{-1, {1}, Positions::kLast},
        UpstreamStep{3, {300}, Positions::kLast}, UpstreamStep{3, {}, Positions::kLast},
        UpstreamStep{3, std::vector<int32_t>(254, 1), Positions::kNone}}) {
    EXPECT_EQ(StepAndWait(*session, bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
  // In their turn, too.
  std::vector<int> order;
  std::promise<void> last;
  session->Step({3, RandomTokens(200, 1), Positions::kLast},
                [&](absl::StatusOr<UpstreamLogits> l) { order.push_back(l.ok() ? 1 : -1); });
  session->Step({999, {1}, Positions::kLast},
                [&](absl::StatusOr<UpstreamLogits> l) { order.push_back(l.ok() ? 2 : -2); });
  session->Step({203, {1}, Positions::kLast}, [&](absl::StatusOr<UpstreamLogits> l) {
    order.push_back(l.ok() ? 3 : -3);
    last.set_value();
  });
  last.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, -2, 3}));
}

TEST_F(UpstreamServiceTest, MalformedRequestsEndTheirStreamOnly) {
  v1::StepRequest good;
  good.add_token_ids(1);
  std::vector<v1::StepRequest> bad(5, good);
  bad[0].set_base_position(2);  // only the session knows that this is too far
  bad[1].add_token_ids(300);
  bad[2].set_positions(static_cast<v1::Positions>(17));
  bad[3].set_top_k(301);
  bad[4].add_named_ids(-1);
  for (const v1::StepRequest& request : bad) {
    std::vector<v1::StepResponse> responses;
    const grpc::Status status = Talk({good, request, good}, &responses);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_EQ(responses.size(), 1);
  }
  std::vector<v1::StepResponse> responses;
  EXPECT_TRUE(Talk({good, good}, &responses).ok());
  EXPECT_EQ(responses.size(), 2);
  AwaitSessions(0);
}

TEST_F(UpstreamServiceTest, TopAndNamedOverTheWire) {
  v1::StepRequest request;
  for (const int32_t token : RandomTokens(10, 1)) request.add_token_ids(token);
  request.set_positions(v1::POSITIONS_ALL);
  std::vector<v1::StepResponse> whole;
  ASSERT_TRUE(Talk({request}, &whole).ok());
  ASSERT_EQ(whole[0].rows(), 10);
  EXPECT_EQ(whole[0].length(), 10);
  std::vector<float> rows;
  ASSERT_TRUE(AppendDecoded(whole[0].logits(), 3000, v1::LOGITS_ENCODING_FP32, &rows).ok());
  request.set_top_k(5);
  request.add_named_ids(256);
  std::vector<v1::StepResponse> parts;
  ASSERT_TRUE(Talk({request}, &parts).ok());
  EXPECT_TRUE(parts[0].logits().empty());
  std::vector<float> top, named, sums;
  ASSERT_TRUE(AppendDecoded(parts[0].top_logits(), 50, v1::LOGITS_ENCODING_FP32, &top).ok());
  ASSERT_TRUE(AppendDecoded(parts[0].named_logits(), 10, v1::LOGITS_ENCODING_FP32, &named).ok());
  ASSERT_TRUE(AppendDecoded(parts[0].log_sum_exp(), 10, v1::LOGITS_ENCODING_FP32, &sums).ok());
  for (int row = 0; row < 10; ++row) {
    EXPECT_EQ(named[row], rows[row * 300 + 256]);
    EXPECT_EQ(top[row * 5],
              *std::max_element(rows.begin() + row * 300, rows.begin() + (row + 1) * 300));
    double sum = 0;
    for (int i = 0; i < 300; ++i) sum += std::exp(static_cast<double>(rows[row * 300 + i]));
    EXPECT_NEAR(sums[row], std::log(sum), 1e-4);
  }
}

TEST_F(UpstreamServiceTest, ClientsThatGoAwayFreeTheirSessions) {
  UpstreamServiceOptions options;
  options.delay = absl::Seconds(3600);
  Serve(std::move(options));
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  std::vector<std::unique_ptr<UpstreamSession>> sessions;
  std::atomic<int> cancelled = 0;
  for (int i = 0; i < 30; ++i) {
    sessions.push_back(native->NewSession().value());
    sessions.back()->Step({0, RandomTokens(100, i), Positions::kLast},
                          [&](absl::StatusOr<UpstreamLogits> logits) {
                            if (absl::IsCancelled(logits.status())) ++cancelled;
                          });
  }
  AwaitSessions(30);
  sessions.clear();
  EXPECT_EQ(cancelled, 30);
  AwaitSessions(0);
  const std::unique_ptr<UpstreamSession> session = local_->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  EXPECT_EQ(local_->free_tokens(), local_->total_tokens() - 16);
}

TEST_F(UpstreamServiceTest, CancelledInTheMiddleAllIsFreed) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  std::vector<std::unique_ptr<UpstreamSession>> sessions;
  std::atomic<int> ended = 0;
  for (int i = 0; i < 6; ++i) {
    sessions.push_back(native->NewSession().value());
    ASSERT_TRUE(StepAndWait(*sessions[i], {0, RandomTokens(40, i), Positions::kLast}).ok());
  }
  const int64_t held = local_->total_tokens() - local_->free_tokens();
  EXPECT_GE(held, 6 * 40);
  // Half of the clients go, each with a step under way that would take long.
  for (int i = 0; i < 3; ++i) {
    sessions[i]->Step({40, RandomTokens(150, i), Positions::kLast},
                      [&](absl::StatusOr<UpstreamLogits>) { ++ended; });
  }
  sessions.erase(sessions.begin(), sessions.begin() + 3);
  EXPECT_EQ(ended, 3);
  // Without a further step of anybody.
  AwaitSessions(3);
  for (int i = 0; i < 2000 && local_->total_tokens() - local_->free_tokens() != held / 2; ++i) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(local_->total_tokens() - local_->free_tokens(), held / 2);
  for (const auto& session : sessions) {
    EXPECT_TRUE(StepAndWait(*session, {40, {1}, Positions::kLast}).ok()) << "the others go on";
  }
}

TEST_F(UpstreamServiceTest, AServerThatDiesMakesPendingStepsUnavailable) {
  UpstreamServiceOptions options;
  options.delay = absl::Seconds(3600);
  Serve(std::move(options));
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const std::string address = runner_->addresses()[0];
  std::vector<std::unique_ptr<UpstreamSession>> sessions;
  std::vector<std::promise<absl::Status>> results(20);
  for (std::promise<absl::Status>& result : results) {
    sessions.push_back(native->NewSession().value());
    sessions.back()->Step({0, {1, 2, 3}, Positions::kLast},
                          [&](absl::StatusOr<UpstreamLogits> l) { result.set_value(l.status()); });
  }
  AwaitSessions(20);
  const absl::Time start = absl::Now();
  StopServer();
  for (std::promise<absl::Status>& result : results) {
    const absl::Status status = result.get_future().get();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_NE(status.message().find(address), std::string::npos) << status;
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_EQ(StepAndWait(*sessions[0], {0, {1}, Positions::kLast}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(native->Probe().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(UpstreamServiceTest, AnExchangedModelIsNoticedAtTheNextSession) {
  // Paths of sockets are short, a test's own folder is not.
  listen_ = absl::StrCat("unix:/tmp/unlearn_exchanged_", getpid(), ".sock");
  Serve({});
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const std::string before = native->info().weights_fingerprint;
  Serve({}, /*seed=*/2);
  ASSERT_NE(local_->info().weights_fingerprint, before);
  absl::Status status;
  // Until the channel has noticed that the old server is gone, calls may be UNAVAILABLE.
  do {
    const std::unique_ptr<UpstreamSession> session = native->NewSession().value();
    status = StepAndWait(*session, {0, {1}, Positions::kLast}).status();
  } while (absl::IsUnavailable(status));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(native->Probe()->weights_fingerprint, before);
}

TEST_F(UpstreamServiceTest, StepTimeoutBreaksTheSession) {
  UpstreamServiceOptions service;
  service.delay = absl::Seconds(3600);
  Serve(std::move(service));
  UpstreamOptions options;
  options.step_timeout_seconds = 0.2;
  const auto native = NativeUpstream::Open(runner_->addresses()[0], options).value();
  const std::unique_ptr<UpstreamSession> session = native->NewSession().value();
  const absl::Status status = StepAndWait(*session, {0, {1}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(StepAndWait(*session, {0, {1}, Positions::kLast}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  AwaitSessions(0);
}

TEST_F(UpstreamServiceTest, DelayIsAddedOncePerStepForAllSessionsTogether) {
  UpstreamServiceOptions options;
  options.delay = absl::Milliseconds(100);
  Serve(std::move(options));
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  std::vector<std::thread> threads;
  const absl::Time start = absl::Now();
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      const std::unique_ptr<UpstreamSession> session = native->NewSession().value();
      for (int step = 0; step < 3; ++step) {
        EXPECT_TRUE(StepAndWait(*session, {step, {1}, Positions::kLast}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(16 * 300));
}

TEST_F(UpstreamServiceTest, SessionsAreLimited) {
  UpstreamServiceOptions options;
  options.max_sessions = 2;
  Serve(std::move(options));
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  const auto first = native->NewSession().value();
  const auto second = native->NewSession().value();
  EXPECT_TRUE(StepAndWait(*first, {0, {1}, Positions::kLast}).ok());
  EXPECT_TRUE(StepAndWait(*second, {0, {1}, Positions::kLast}).ok());
  {
    const auto third = native->NewSession().value();
    const absl::Status status = StepAndWait(*third, {0, {1}, Positions::kLast}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_NE(status.message().find("--max_sessions"), std::string::npos);
  }
  EXPECT_TRUE(StepAndWait(*first, {1, {1}, Positions::kLast}).ok());
}

TEST_F(UpstreamServiceTest, TokensAreAsked) {
  const std::string server_tokens = absl::StrCat(testing::TempDir(), "/server_tokens");
  const std::string client_token = absl::StrCat(testing::TempDir(), "/client_token");
  ASSERT_TRUE(WriteFileAtomically(server_tokens, "user secret-one\n").ok());
  ASSERT_TRUE(WriteFileAtomically(client_token, "secret-one\n").ok());
  const std::unique_ptr<Authenticator> authenticator = Authenticator::Load(server_tokens).value();
  UpstreamServiceOptions service;
  service.authenticator = authenticator.get();
  Serve(std::move(service));
  const std::string address = runner_->addresses()[0];
  EXPECT_EQ(NativeUpstream::Open(address, {}).status().code(), absl::StatusCode::kUnauthenticated);
  v1::StepRequest request;
  request.add_token_ids(1);
  std::vector<v1::StepResponse> responses;
  EXPECT_EQ(Talk({request}, &responses).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(responses.empty());
  UpstreamOptions options;
  options.token_file = client_token;
  const auto native = NativeUpstream::Open(address, options);
  ASSERT_TRUE(native.ok()) << native.status();
  const auto session = (*native)->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  StopServer();  // before the authenticator
}

TEST_F(UpstreamServiceTest, SessionsComeAndGoUnderLoad) {
  const std::unique_ptr<NativeUpstream> native = OpenNative();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int round = 0; round < 30; ++round) {
        std::atomic<int> answers = 0;
        const int steps = random() % 4;
        {
          const std::unique_ptr<UpstreamSession> session = native->NewSession().value();
          for (int i = 0; i < steps; ++i) {
            session->Step({0, RandomTokens(1 + random() % 100, t), Positions::kLast},
                          [&](absl::StatusOr<UpstreamLogits>) { ++answers; });
          }
          if (round % 3 == 0) {
            EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
          }
        }
        EXPECT_EQ(answers, steps);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  AwaitSessions(0);
  const std::unique_ptr<UpstreamSession> session = local_->NewSession().value();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  EXPECT_EQ(local_->free_tokens(), local_->total_tokens() - 16);
}

}  // namespace
}  // namespace unlearn
