#include "proxy/upstream/kserve_upstream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace unlearn {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Positions = UpstreamStep::Positions;

constexpr int kVocabulary = 4;

// Exact in every type: after token t the row is {t, -t, t + 0.5, 0}.
std::vector<float> Row(int64_t token) {
  const float t = static_cast<float>(token);
  return {t, -t, t + 0.5f, 0};
}

void AppendNumber(const std::string& type, float value, std::string* out) {
  if (type == "FP32") {
    out->append(reinterpret_cast<const char*>(&value), 4);
  } else if (type == "BF16") {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint16_t half = bits >> 16;
    out->append(reinterpret_cast<const char*>(&half), 2);
  } else {
    const _Float16 half = static_cast<_Float16>(value);
    out->append(reinterpret_cast<const char*>(&half), 2);
  }
}

// A server with one model, "m".
class FakeServer : public inference::GRPCInferenceService::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    auto& input = *metadata_.add_inputs();
    input.set_name("ids");
    input.set_datatype("INT64");
    input.add_shape(-1);
    input.add_shape(-1);
    auto& output = *metadata_.add_outputs();
    output.set_name("logits");
    output.set_datatype("FP32");
  }
  ~FakeServer() override { Stop(); }
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status ModelReady(grpc::ServerContext*, const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override {
    response->set_ready(request->name() == "m");
    return grpc::Status::OK;
  }
  grpc::Status ModelMetadata(grpc::ServerContext*, const inference::ModelMetadataRequest*,
                             inference::ModelMetadataResponse* response) override {
    absl::MutexLock lock(&mutex_);
    *response = metadata_;
    return grpc::Status::OK;
  }
  grpc::Status ModelConfig(grpc::ServerContext*, const inference::ModelConfigRequest*,
                           inference::ModelConfigResponse* response) override {
    if (plain_) return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
    if (keeps_state_) response->mutable_config()->mutable_sequence_batching();
    response->mutable_config()->mutable_model_transaction_policy()->set_decoupled(decoupled_);
    return grpc::Status::OK;
  }
  grpc::Status ModelInfer(grpc::ServerContext* context, const ModelInferRequest* request,
                          ModelInferResponse* response) override {
    std::function<grpc::Status(grpc::ServerContext*)> before;
    {
      absl::MutexLock lock(&mutex_);
      before = before_;
    }
    if (before) {
      const grpc::Status status = before(context);
      if (!status.ok()) return status;
    }
    if (decoupled_) return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "decoupled");
    std::vector<int64_t> tokens;
    const grpc::Status status = Take(*request, &tokens);
    if (!status.ok()) return status;
    Answer(last_row_only_ ? std::vector<int64_t>{tokens.back()} : tokens, response);
    if (change_) change_(*response);
    return grpc::Status::OK;
  }
  grpc::Status ModelStreamInfer(grpc::ServerContext*,
                                grpc::ServerReaderWriter<inference::ModelStreamInferResponse,
                                                         ModelInferRequest>* stream) override {
    ModelInferRequest request;
    while (stream->Read(&request)) {
      std::vector<int64_t> tokens;
      inference::ModelStreamInferResponse response;
      if (!Take(request, &tokens).ok() || !stream_error_.empty()) {
        response.set_error_message(stream_error_);
        stream->Write(response);
        continue;
      }
      for (size_t i = stream_skip_; i < tokens.size(); ++i) {
        Answer({tokens[i]}, response.mutable_infer_response());
        stream->Write(response);
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Take(const ModelInferRequest& request, std::vector<int64_t>* tokens) {
    absl::MutexLock lock(&mutex_);
    requests_.push_back(request);
    const std::string& raw = request.raw_input_contents(0);
    const size_t size = request.inputs(0).datatype() == "INT64" ? 8 : 4;
    for (size_t i = 0; i < raw.size(); i += size) {
      int64_t id = 0;
      std::memcpy(&id, &raw[i], size);
      tokens->push_back(id);
    }
    if (!keeps_state_) return grpc::Status::OK;
    const auto& parameters = request.parameters();
    const int64_t id = parameters.at("sequence_id").int64_param();
    if (parameters.at("sequence_start").bool_param()) {
      lengths_[id] = 0;
    } else if (lengths_.count(id) == 0) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          "must specify the START flag on the first request of the sequence");
    }
    lengths_[id] += tokens->size();
    if (parameters.at("sequence_end").bool_param()) lengths_.erase(id);
    return grpc::Status::OK;
  }

  void Answer(const std::vector<int64_t>& tokens, ModelInferResponse* response) {
    response->Clear();
    auto& output = *response->add_outputs();
    output.set_name("logits");
    output.set_datatype(metadata_.outputs(0).datatype());
    if (metadata_.inputs(0).shape_size() == 2) output.add_shape(1);
    output.add_shape(tokens.size());
    output.add_shape(kVocabulary);
    std::string* const raw = response->add_raw_output_contents();
    for (const int64_t token : tokens) {
      for (const float value : Row(token)) AppendNumber(output.datatype(), value, raw);
    }
  }

  std::string address_;
  inference::ModelMetadataResponse metadata_;
  bool plain_ = false;  // no ModelConfig
  bool keeps_state_ = false;
  bool decoupled_ = false;
  bool last_row_only_ = false;
  std::function<void(ModelInferResponse&)> change_;
  std::string stream_error_;
  size_t stream_skip_ = 0;

  absl::Mutex mutex_;
  std::function<grpc::Status(grpc::ServerContext*)> before_;
  std::vector<ModelInferRequest> requests_;
  std::map<int64_t, int64_t> lengths_;  // of live sequences

 private:
  std::unique_ptr<grpc::Server> server_;
};

UpstreamOptions Options() {
  UpstreamOptions options;
  options.eos_token_ids = {3};
  return options;
}

absl::StatusOr<std::unique_ptr<KserveUpstream>> Open(const FakeServer& server) {
  return KserveUpstream::Open(server.address_ + "/m", Options());
}

std::vector<float> Rows(std::initializer_list<int64_t> tokens) {
  std::vector<float> rows;
  for (const int64_t token : tokens) {
    for (const float value : Row(token)) rows.push_back(value);
  }
  return rows;
}

// What every model must do, whatever its kind.
void CheckSession(KserveUpstream& upstream) {
  const auto session = upstream.NewSession().value();
  const auto all = StepAndWait(*session, {0, {1, 2}, Positions::kAll});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->rows, 2);
  EXPECT_EQ(all->logits, Rows({1, 2}));
  EXPECT_EQ(StepAndWait(*session, {2, {3}, Positions::kLast})->logits, Rows({3}));
  EXPECT_EQ(StepAndWait(*session, {3, {2}, Positions::kNone})->rows, 0);
  EXPECT_EQ(StepAndWait(*session, {4, {1}, Positions::kLast})->logits, Rows({1}));
  // Rolled back.
  EXPECT_EQ(StepAndWait(*session, {1, {0, 3}, Positions::kAll})->logits, Rows({0, 3}));
  EXPECT_EQ(StepAndWait(*session, {3, {4}, Positions::kLast}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KserveUpstreamTest, EveryTypeAndShape) {
  for (const std::string type : {"FP32", "FP16", "BF16"}) {
    for (const bool batched : {false, true}) {
      for (const std::string ids : {"INT64", "INT32"}) {
        FakeServer server;
        server.metadata_.mutable_outputs(0)->set_datatype(type);
        server.metadata_.mutable_inputs(0)->set_datatype(ids);
        if (!batched) server.metadata_.mutable_inputs(0)->mutable_shape()->RemoveLast();
        const auto upstream = Open(server);
        ASSERT_TRUE(upstream.ok()) << upstream.status();
        EXPECT_EQ((*upstream)->info().kind, "kserve");
        EXPECT_EQ((*upstream)->info().vocab_size, kVocabulary);
        EXPECT_EQ((*upstream)->info().eos_token_ids, std::vector<int32_t>({3}));
        CheckSession(**upstream);
      }
    }
  }
}

TEST(KserveUpstreamTest, OfTheLastPositionOnly) {
  FakeServer server;
  server.last_row_only_ = true;
  server.plain_ = true;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  CheckSession(**upstream);
}

TEST(KserveUpstreamTest, ByStream) {
  FakeServer server;
  server.decoupled_ = true;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  CheckSession(**upstream);
}

TEST(KserveUpstreamTest, SequencesSendWhatIsNewAndAreEnded) {
  FakeServer server;
  server.keeps_state_ = true;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  CheckSession(**upstream);
  {
    const auto session = (*upstream)->NewSession().value();
    ASSERT_TRUE(StepAndWait(*session, {0, {1, 2, 3}, Positions::kLast}).ok());
    ASSERT_TRUE(StepAndWait(*session, {3, {1}, Positions::kLast}).ok());
    absl::MutexLock lock(&server.mutex_);
    const auto& request = server.requests_.back();
    EXPECT_EQ(request.raw_input_contents(0).size(), 8);
    EXPECT_FALSE(request.parameters().at("sequence_start").bool_param());
    EXPECT_GT(request.parameters().at("sequence_id").int64_param(), 0);
  }
  // The ends are told in the background.
  absl::MutexLock lock(&server.mutex_);
  server.mutex_.Await(absl::Condition(
      +[](FakeServer* server) { return server->lengths_.empty(); }, &server));
}

TEST(KserveUpstreamTest, AForgottenSequenceIsBegunAgain) {
  FakeServer server;
  server.keeps_state_ = true;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const auto session = (*upstream)->NewSession().value();
  ASSERT_TRUE(StepAndWait(*session, {0, {1, 2}, Positions::kLast}).ok());
  {
    absl::MutexLock lock(&server.mutex_);
    server.lengths_.clear();
  }
  EXPECT_EQ(StepAndWait(*session, {2, {3}, Positions::kLast})->logits, Rows({3}));
  absl::MutexLock lock(&server.mutex_);
  EXPECT_EQ(server.requests_.back().raw_input_contents(0).size(), 3 * 8);
  EXPECT_TRUE(server.requests_.back().parameters().at("sequence_start").bool_param());
}

TEST(KserveUpstreamTest, TypedContentsAreRead) {
  FakeServer server;
  server.change_ = [](ModelInferResponse& response) {
    const std::string raw = response.raw_output_contents(0);
    response.clear_raw_output_contents();
    auto& values = *response.mutable_outputs(0)->mutable_contents();
    for (size_t i = 0; i < raw.size(); i += 4) {
      float value;
      std::memcpy(&value, &raw[i], 4);
      values.add_fp32_contents(value);
    }
  };
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  CheckSession(**upstream);
}

TEST(KserveUpstreamTest, AnswersThatDoNotFitAreErrors) {
  const std::function<void(ModelInferResponse&)> changes[] = {
      [](ModelInferResponse& r) { r.mutable_outputs(0)->set_name("other"); },
      [](ModelInferResponse& r) { r.mutable_outputs(0)->set_datatype("FP16"); },
      [](ModelInferResponse& r) { r.mutable_outputs(0)->set_shape(2, kVocabulary + 1); },
      [](ModelInferResponse& r) { r.mutable_outputs(0)->set_shape(1, int64_t{1} << 62); },
      [](ModelInferResponse& r) { r.mutable_outputs(0)->set_shape(1, -1); },
      [](ModelInferResponse& r) { r.mutable_outputs(0)->clear_shape(); },
      [](ModelInferResponse& r) { r.mutable_raw_output_contents(0)->pop_back(); },
      [](ModelInferResponse& r) { r.mutable_raw_output_contents(0)->clear(); },
      [](ModelInferResponse& r) { r.clear_raw_output_contents(); },
      [](ModelInferResponse& r) { r.clear_outputs(); },
  };
  for (const auto& change : changes) {
    FakeServer server;
    const auto upstream = Open(server);
    ASSERT_TRUE(upstream.ok()) << upstream.status();
    server.change_ = change;
    const auto session = (*upstream)->NewSession().value();
    const absl::Status status = StepAndWait(*session, {0, {1, 2}, Positions::kAll}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status << " " << (&change - changes);
  }
}

TEST(KserveUpstreamTest, StreamsThatFailOrEndEarlyAreErrors) {
  for (const bool early : {false, true}) {
    FakeServer server;
    server.decoupled_ = true;
    const auto upstream = Open(server);
    ASSERT_TRUE(upstream.ok()) << upstream.status();
    if (early) {
      server.stream_skip_ = 1;
    } else {
      server.stream_error_ = "out of luck";
    }
    const auto session = (*upstream)->NewSession().value();
    const absl::Status status = StepAndWait(*session, {0, {1, 2}, Positions::kAll}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_NE(status.message().find(early ? "1 of 2 rows" : "out of luck"), std::string::npos)
        << status;
  }
}

TEST(KserveUpstreamTest, ErrorsOfTheServerNameItAndLeaveTracebacksOut) {
  FakeServer server;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  {
    absl::MutexLock lock(&server.mutex_);
    server.before_ = [](grpc::ServerContext*) {
      return grpc::Status(grpc::StatusCode::INTERNAL, "it broke\nTraceback: /secret/path");
    };
  }
  const auto session = (*upstream)->NewSession().value();
  const absl::Status status = StepAndWait(*session, {0, {1}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_NE(status.message().find(server.address_), std::string::npos) << status;
  EXPECT_NE(status.message().find("it broke"), std::string::npos) << status;
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status;
}

TEST(KserveUpstreamTest, AFrozenServerIsLeftAtTheTimeout) {
  FakeServer server;
  UpstreamOptions options = Options();
  options.step_timeout_seconds = 0.3;
  const auto upstream = KserveUpstream::Open(server.address_ + "/m", options);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  absl::Notification thaw;
  {
    absl::MutexLock lock(&server.mutex_);
    server.before_ = [&](grpc::ServerContext*) {
      thaw.WaitForNotification();
      return grpc::Status::OK;
    };
  }
  const auto session = (*upstream)->NewSession().value();
  const absl::Status status = StepAndWait(*session, {0, {1}, Positions::kLast}).status();
  thaw.Notify();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_NE(status.message().find("--upstream_step_timeout"), std::string::npos) << status;
}

TEST(KserveUpstreamTest, AServerThatIsGoneIsUnavailable) {
  FakeServer server;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const auto session = (*upstream)->NewSession().value();
  ASSERT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
  server.Stop();
  EXPECT_EQ(StepAndWait(*session, {1, {1}, Positions::kLast}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(KserveUpstreamTest, ClosingASessionCancelsItsCall) {
  FakeServer server;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  absl::Notification arrived, noticed;
  {
    absl::MutexLock lock(&server.mutex_);
    server.before_ = [&](grpc::ServerContext* context) {
      arrived.Notify();
      while (!context->IsCancelled()) std::this_thread::yield();
      noticed.Notify();
      return grpc::Status::CANCELLED;
    };
  }
  auto session = (*upstream)->NewSession().value();
  absl::Notification answered;
  absl::Status status;
  session->Step({0, {1}, Positions::kLast}, [&](auto logits) {
    status = logits.status();
    answered.Notify();
  });
  arrived.WaitForNotification();
  session.reset();
  EXPECT_TRUE(answered.HasBeenNotified());
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  noticed.WaitForNotification();
}

TEST(KserveUpstreamTest, ModelsOfAnotherKindAreRefusedByTheirTensors) {
  const std::function<void(inference::ModelMetadataResponse&)> changes[] = {
      [](auto& m) { *m.add_inputs() = m.inputs(0); },
      [](auto& m) { m.clear_inputs(); },
      [](auto& m) { m.mutable_inputs(0)->set_datatype("FP32"); },
      [](auto& m) { m.mutable_inputs(0)->set_shape(1, 128); },
      [](auto& m) { m.mutable_outputs(0)->set_datatype("INT64"); },
      [](auto& m) { *m.add_outputs() = m.outputs(0); },
      [](auto& m) { m.clear_outputs(); },
  };
  for (const auto& change : changes) {
    FakeServer server;
    change(server.metadata_);
    const absl::Status status = Open(server).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition)
        << status << " " << (&change - changes);
    EXPECT_NE(status.message().find("it takes"), std::string::npos) << status;
  }
}

TEST(KserveUpstreamTest, WhatTheOperatorMustSay) {
  FakeServer server;
  const auto open = [&](const std::string& path, const UpstreamOptions& options) {
    return KserveUpstream::Open(server.address_ + path, options).status();
  };
  EXPECT_EQ(open("", Options()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open("/", Options()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open("/m", {}).code(), absl::StatusCode::kInvalidArgument);
  UpstreamOptions outside = Options();
  outside.eos_token_ids = {kVocabulary};
  EXPECT_EQ(open("/m", outside).code(), absl::StatusCode::kInvalidArgument);
  const absl::Status other = open("/other", Options());
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition) << other;
  EXPECT_NE(other.message().find("other"), std::string::npos) << other;
}

TEST(KserveUpstreamTest, AModelWithOtherTensorsIsNoticed) {
  FakeServer server;
  const auto upstream = Open(server);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  EXPECT_TRUE((*upstream)->Probe().ok());
  {
    absl::MutexLock lock(&server.mutex_);
    server.metadata_.mutable_outputs(0)->set_datatype("FP16");
  }
  EXPECT_EQ((*upstream)->Probe().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace unlearn
