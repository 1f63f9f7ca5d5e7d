#include "proxy/upstream/native_upstream.h"

#include <gtest/gtest.h>

#include <functional>
#include <future>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;
using ServerStream = grpc::ServerReaderWriter<v1::StepResponse, v1::StepRequest>;

constexpr int kVocabulary = 4;

// What a well-behaved server answers: each row is 0, 1, 2, 3.
v1::StepResponse Answer(const v1::StepRequest& request) {
  v1::StepResponse response;
  response.set_length(request.base_position() + request.token_ids_size());
  response.set_rows(request.positions() == v1::POSITIONS_ALL    ? request.token_ids_size()
                    : request.positions() == v1::POSITIONS_NONE ? 0
                                                                : 1);
  response.set_encoding(request.encoding());
  const float row[kVocabulary] = {0, 1, 2, 3};
  for (int i = 0; i < response.rows(); ++i) {
    response.mutable_logits()->append(reinterpret_cast<const char*>(row), sizeof(row));
  }
  return response;
}

// A server whose sessions do what the test says.
class FakeServer : public v1::UpstreamService::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    info_.set_model_id("fake");
    info_.set_weights_fingerprint("w");
    info_.set_tokenizer_fingerprint("t");
    info_.set_vocab_size(kVocabulary);
    info_.set_max_context(100);
  }
  ~FakeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status GetModelInfo(grpc::ServerContext*, const v1::GetModelInfoRequest*,
                            v1::ModelInfo* response) override {
    *response = info_;
    return grpc::Status::OK;
  }
  grpc::Status Session(grpc::ServerContext* context, ServerStream* stream) override {
    for (const auto& [key, value] : metadata_) context->AddInitialMetadata(key, value);
    return session_(stream);
  }

  std::string address_;
  v1::ModelInfo info_;
  std::map<std::string, std::string> metadata_;
  std::function<grpc::Status(ServerStream*)> session_ = [](ServerStream* stream) {
    v1::StepRequest request;
    while (stream->Read(&request)) stream->Write(Answer(request));
    return grpc::Status::OK;
  };

 private:
  std::unique_ptr<grpc::Server> server_;
};

// Answers the first step well, then changes each further answer.
std::function<grpc::Status(ServerStream*)> Changed(std::function<void(v1::StepResponse&)> change) {
  return [change](ServerStream* stream) {
    v1::StepRequest request;
    for (int i = 0; stream->Read(&request); ++i) {
      v1::StepResponse response = Answer(request);
      if (i > 0) change(response);
      stream->Write(response);
    }
    return grpc::Status::OK;
  };
}

absl::StatusOr<std::unique_ptr<NativeUpstream>> Open(const std::string& address) {
  return NativeUpstream::Open(address, {});
}

TEST(NativeUpstreamTest, AnswersInEveryEncodingAndPosition) {
  FakeServer server;
  const auto upstream = Open(server.address_);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  const auto session = (*upstream)->NewSession().value();
  const UpstreamLogits all = StepAndWait(*session, {0, {1, 2}, Positions::kAll}).value();
  EXPECT_EQ(all.rows, 2);
  EXPECT_EQ(all.logits, (std::vector<float>{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(StepAndWait(*session, {2, {3}, Positions::kLast})->logits.size(), 4);
  EXPECT_EQ(StepAndWait(*session, {3, {3}, Positions::kNone})->rows, 0);
  EXPECT_EQ(StepAndWait(*session, {0, {}, Positions::kAll})->rows, 0);
}

TEST(NativeUpstreamTest, AnswersThatDoNotFitBreakTheSession) {
  const std::function<void(v1::StepResponse&)> changes[] = {
      [](v1::StepResponse& r) { r.set_length(r.length() + 1); },
      [](v1::StepResponse& r) { r.set_rows(2); },
      [](v1::StepResponse& r) { r.mutable_logits()->pop_back(); },
      [](v1::StepResponse& r) { r.clear_logits(); },
      [](v1::StepResponse& r) { r.set_encoding(v1::LOGITS_ENCODING_BF16); },
  };
  for (const auto& change : changes) {
    FakeServer server;
    server.session_ = Changed(change);
    const auto upstream = Open(server.address_).value();
    const auto session = upstream->NewSession().value();
    EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
    const absl::Status status = StepAndWait(*session, {1, {1}, Positions::kLast}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_NE(status.message().find(server.address_), std::string::npos) << status;
    EXPECT_EQ(StepAndWait(*session, {1, {1}, Positions::kLast}).status(), status);
    // Another session is not touched by it.
    const auto other = upstream->NewSession().value();
    EXPECT_TRUE(StepAndWait(*other, {0, {1}, Positions::kLast}).ok());
  }
}

TEST(NativeUpstreamTest, UnaskedAnswersBreakTheSession) {
  FakeServer server;
  server.session_ = [](ServerStream* stream) {
    v1::StepRequest request;
    stream->Read(&request);
    stream->Write(Answer(request));
    stream->Write(Answer(request));
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  const auto upstream = Open(server.address_).value();
  const auto session = upstream->NewSession().value();
  // The second answer comes right behind the first; what is asked then is answered by the error
  // or, if it was sent first, by an answer of the wrong length.
  StepAndWait(*session, {0, {1}, Positions::kLast}).IgnoreError();
  EXPECT_EQ(StepAndWait(*session, {1, {1}, Positions::kLast}).status().code(),
            absl::StatusCode::kInternal);
}

TEST(NativeUpstreamTest, EndsOfTheStreamAreTranslated) {
  const std::pair<grpc::Status, absl::StatusCode> cases[] = {
      {grpc::Status::OK, absl::StatusCode::kUnavailable},
      {{grpc::StatusCode::UNAVAILABLE, "x"}, absl::StatusCode::kUnavailable},
      {{grpc::StatusCode::CANCELLED, "x"}, absl::StatusCode::kUnavailable},
      {{grpc::StatusCode::INTERNAL, "x"}, absl::StatusCode::kUnavailable},
      {{grpc::StatusCode::RESOURCE_EXHAUSTED, "x"}, absl::StatusCode::kResourceExhausted},
      {{grpc::StatusCode::INVALID_ARGUMENT, "x"}, absl::StatusCode::kInvalidArgument},
      {{grpc::StatusCode::PERMISSION_DENIED, "x"}, absl::StatusCode::kPermissionDenied},
  };
  for (const auto& [end, code] : cases) {
    FakeServer server;
    server.session_ = [&end = end](ServerStream* stream) {
      v1::StepRequest request;
      stream->Read(&request);
      return end;
    };
    const auto upstream = Open(server.address_).value();
    const auto session = upstream->NewSession().value();
    for (int i = 0; i < 2; ++i) {
      const absl::Status status = StepAndWait(*session, {0, {1}, Positions::kLast}).status();
      EXPECT_EQ(status.code(), code) << status;
      EXPECT_NE(status.message().find(server.address_), std::string::npos) << status;
    }
  }
}

TEST(NativeUpstreamTest, AServerThatSaysNothingCanBeLeft) {
  FakeServer server;
  std::promise<void> arrived;
  std::promise<void> left;
  server.session_ = [&](ServerStream* stream) {
    v1::StepRequest request;
    stream->Read(&request);
    arrived.set_value();
    while (stream->Read(&request)) {
    }
    left.set_value();
    return grpc::Status::OK;
  };
  const auto upstream = Open(server.address_).value();
  auto session = upstream->NewSession().value();
  std::vector<absl::Status> results;
  for (int i = 0; i < 3; ++i) {
    session->Step({i, {1}, Positions::kLast},
                  [&](absl::StatusOr<UpstreamLogits> l) { results.push_back(l.status()); });
  }
  arrived.get_future().wait();
  session.reset();
  ASSERT_EQ(results.size(), 3);
  for (const absl::Status& status : results) EXPECT_TRUE(absl::IsCancelled(status)) << status;
  left.get_future().wait();
}

TEST(NativeUpstreamTest, CallbacksMayStepAgain) {
  FakeServer server;
  const auto upstream = Open(server.address_).value();
  const auto session = upstream->NewSession().value();
  std::promise<int> finished;
  int length = 0;
  std::function<void(absl::StatusOr<UpstreamLogits>)> next =
      [&](absl::StatusOr<UpstreamLogits> logits) {
        if (!logits.ok() || ++length == 90) {
          finished.set_value(length);
        } else {
          session->Step({length, {1}, Positions::kLast}, next);
        }
      };
  session->Step({0, {1}, Positions::kLast}, next);
  EXPECT_EQ(finished.get_future().get(), 90);
}

TEST(NativeUpstreamTest, SessionsMayOutliveTheUpstream) {
  FakeServer server;
  auto upstream = Open(server.address_).value();
  const auto session = upstream->NewSession().value();
  upstream.reset();
  EXPECT_TRUE(StepAndWait(*session, {0, {1}, Positions::kLast}).ok());
}

TEST(NativeUpstreamTest, AnotherModelIsRefused) {
  FakeServer server;
  server.metadata_ = {{kModelMetadata, "w/t"}};
  const auto upstream = Open(server.address_).value();
  const auto same = upstream->NewSession().value();
  EXPECT_TRUE(StepAndWait(*same, {0, {1}, Positions::kLast}).ok());
  server.metadata_ = {{kModelMetadata, "v/t"}};
  const auto other = upstream->NewSession().value();
  const absl::Status status = StepAndWait(*other, {0, {1}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST(NativeUpstreamTest, NobodyThere) {
  std::string address;
  {
    FakeServer server;
    address = server.address_;
  }
  UpstreamOptions options;
  options.connect_timeout_seconds = 0.3;
  const absl::Time start = absl::Now();
  const absl::Status status = NativeUpstream::Open(address, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find(address), std::string::npos) << status;
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST(NativeUpstreamTest, AnotherKindOfServer) {
  grpc::ServerBuilder builder;
  int port = 0;
  grpc::CallbackGenericService nothing;  // answers UNIMPLEMENTED
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&nothing);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const absl::Status status = Open(absl::StrCat("127.0.0.1:", port)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_NE(status.message().find("UpstreamService"), std::string::npos) << status;
  FakeServer unusable;
  unusable.info_.set_vocab_size(0);
  EXPECT_EQ(Open(unusable.address_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(NativeUpstreamTest, BadOptionsAreNamed) {
  const auto open = [](const std::string& address, std::function<void(UpstreamOptions&)> change) {
    UpstreamOptions options;
    change(options);
    const absl::Status status = NativeUpstream::Open(address, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_NE(open("nowhere", [](UpstreamOptions&) {}).find("--upstream"), std::string::npos);
  EXPECT_NE(open("a:1", [](UpstreamOptions& o) { o.encoding = "int8"; }).find("int8"),
            std::string::npos);
  EXPECT_NE(open("a:1", [](UpstreamOptions& o) { o.step_timeout_seconds = 0; }).find("timeout"),
            std::string::npos);
  EXPECT_NE(open("a:1", [](UpstreamOptions& o) { o.connect_timeout_seconds = -1; }).find("timeout"),
            std::string::npos);
  UpstreamOptions options;
  options.tls_ca = testing::TempDir() + "/no_such_ca.pem";
  EXPECT_NE(NativeUpstream::Open("a:1", options).status().message().find("--upstream_tls_ca"),
            std::string::npos);
}

}  // namespace
}  // namespace unlearn
