#include "tests/faults/faulty_server.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "inference/open_inference.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "proxy/transport/http_test_server.h"
#include "unlearn/v1/upstream.grpc.pb.h"

namespace unlearn {
namespace {

using nlohmann::json;

// A gRPC server at one port.
class GrpcPlace {
 public:
  void Start(grpc::Service* service, int* port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", *port), grpc::InsecureServerCredentials(),
                             port);
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_ = nullptr;
  }

 private:
  std::unique_ptr<grpc::Server> server_;
};

void AwaitCancel(const grpc::ServerContext& context) {
  while (!context.IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
}

// Whether the fault ends the call; else it may change the answer.
bool EndsCall(Fault fault, absl::Duration slow, absl::Duration come_back,
              grpc::ServerContext* context, grpc::Status* status) {
  switch (fault) {
    case Fault::kFrozen:
      AwaitCancel(*context);
      *status = grpc::Status::CANCELLED;
      return true;
    case Fault::kSlow:
      absl::SleepFor(slow);
      return false;
    case Fault::kBusy:
    case Fault::kLoading:
      context->AddTrailingMetadata("grpc-retry-pushback-ms",
                                   absl::StrCat(absl::ToInt64Milliseconds(come_back)));
      *status = fault == Fault::kBusy
                    ? grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many requests")
                    : grpc::Status(grpc::StatusCode::UNAVAILABLE, "loading");
      return true;
    case Fault::kHalf:
      *status = grpc::Status::OK;  // without what was asked for
      return true;
    default:
      return false;
  }
}

void Spoil(Fault fault, std::vector<float>* row) {
  if (fault == Fault::kNan) (*row)[3] = NAN;
  if (fault == Fault::kWrongSize) row->push_back(0);
}

class NativeServer : public FaultyServer, public v1::UpstreamService::Service {
 public:
  explicit NativeServer(Row row) : FaultyServer(std::move(row)) {}
  ~NativeServer() override { Stop(); }
  void Start() override { place_.Start(this, &port_); }
  void Stop() override { place_.Stop(); }
  std::string spec() const override { return absl::StrCat("native:", address()); }

  grpc::Status GetModelInfo(grpc::ServerContext*, const v1::GetModelInfoRequest*,
                            v1::ModelInfo* response) override {
    response->set_model_id("faulty");
    response->set_vocab_size(static_cast<int32_t>(RowOf({0}).size()));
    response->set_max_context(500);
    return grpc::Status::OK;
  }

  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::StepResponse, v1::StepRequest>* stream) override {
    std::vector<int32_t> tokens;
    v1::StepRequest request;
    while (stream->Read(&request)) {
      grpc::Status status;
      const bool wanted = request.positions() != v1::POSITIONS_NONE;
      const Fault fault = wanted ? Take() : Fault::kNone;
      if (EndsCall(fault, kSlowStep, kComeBack, context, &status)) return status;
      tokens.resize(request.base_position());
      v1::StepResponse response;
      for (const int32_t id : request.token_ids()) {
        tokens.push_back(id);
        const bool last = tokens.size() == request.base_position() + request.token_ids_size();
        if (!wanted || (request.positions() == v1::POSITIONS_LAST && !last)) continue;
        std::vector<float> row = RowOf(tokens);
        Spoil(fault, &row);
        response.mutable_logits()->append(reinterpret_cast<const char*>(row.data()),
                                          row.size() * sizeof(float));
        response.set_rows(response.rows() + 1);
      }
      response.set_length(static_cast<int32_t>(tokens.size()));
      response.set_encoding(request.encoding());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  GrpcPlace place_;
};

class KserveServer : public FaultyServer, public inference::GRPCInferenceService::Service {
 public:
  explicit KserveServer(Row row) : FaultyServer(std::move(row)) {}
  ~KserveServer() override { Stop(); }
  void Start() override { place_.Start(this, &port_); }
  void Stop() override { place_.Stop(); }
  std::string spec() const override { return absl::StrCat("kserve:", address(), "/m"); }

  grpc::Status ModelReady(grpc::ServerContext*, const inference::ModelReadyRequest*,
                          inference::ModelReadyResponse* response) override {
    response->set_ready(true);
    return grpc::Status::OK;
  }
  grpc::Status ModelMetadata(grpc::ServerContext*, const inference::ModelMetadataRequest*,
                             inference::ModelMetadataResponse* response) override {
    auto& input = *response->add_inputs();
    input.set_name("ids");
    input.set_datatype("INT64");
    input.add_shape(-1);
    auto& output = *response->add_outputs();
    output.set_name("logits");
    output.set_datatype("FP32");
    return grpc::Status::OK;
  }
  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    const Fault fault = Take();
    grpc::Status status;
    if (EndsCall(fault, kSlowStep, kComeBack, context, &status)) return status;
    const std::string& raw = request->raw_input_contents(0);
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < raw.size(); i += sizeof(int64_t)) {
      int64_t id;
      std::memcpy(&id, &raw[i], sizeof(id));
      tokens.push_back(static_cast<int32_t>(id));
    }
    std::vector<float> row = RowOf(tokens);
    Spoil(fault, &row);
    auto& output = *response->add_outputs();
    output.set_name("logits");
    output.set_datatype("FP32");
    output.add_shape(1);
    output.add_shape(static_cast<int64_t>(row.size()));
    response->add_raw_output_contents()->assign(reinterpret_cast<const char*>(row.data()),
                                                row.size() * sizeof(float));
    return grpc::Status::OK;
  }

 private:
  GrpcPlace place_;
};

// As llama.cpp's server speaks.
class OpenaiServer : public FaultyServer {
 public:
  explicit OpenaiServer(Row row) : FaultyServer(std::move(row)) {}
  std::string spec() const override { return absl::StrCat("openai:", address()); }
  void Stop() override { http_ = nullptr; }
  void Start() override {
    HttpTestServer::Options options;
    options.port = port_;
    http_ = std::make_unique<HttpTestServer>(options);
    port_ = http_->port();
    http_->Handle("/props", [](const auto&, auto& reply) { reply.SendJson(200, "{}"); });
    http_->Handle("/tokenize",
                  [](const auto&, auto& reply) { reply.SendJson(200, R"({"tokens":[2]})"); });
    http_->Handle("/v1/models", [this](const auto&, auto& reply) {
      reply.SendJson(
          200, json{{"data",
                     json::array({{{"id", "faulty"},
                                   {"meta", {{"n_vocab", RowOf({0}).size()}, {"n_ctx", 500}}}}})}}
                   .dump());
    });
    http_->Handle("/completion", [this](const auto& request, auto& reply) {
      Complete(json::parse(request.body), reply);
    });
  }

 private:
  void Complete(const json& body, HttpTestServer::Reply& reply) {
    // It tells laws and draws no streams, so that every token is asked for.
    if (body.value("n_predict", 0) != 1) {
      reply.SendJson(400, R"({"error":{"code":400,"message":"one token only"}})");
      return;
    }
    const Fault fault = Take();
    const HttpTestServer::Headers come_back = {
        {"Retry-After", absl::StrCat(absl::ToInt64Seconds(kComeBack))}};
    switch (fault) {
      case Fault::kFrozen:
        reply.WaitUntilClientLeaves();
        return;
      case Fault::kSlow:
        absl::SleepFor(kSlowStep);
        break;
      case Fault::kBusy:
        reply.SendJson(429, "{}", come_back);
        return;
      case Fault::kLoading:
        reply.SendJson(503, "{}", come_back);
        return;
      case Fault::kHalf:
        reply.Send(200, "application/json", R"({"compl)", {{"Content-Length", "1000"}});
        reply.Close();
        return;
      default:
        break;
    }
    std::vector<float> row = RowOf(body["prompt"].get<std::vector<int32_t>>());
    if (fault == Fault::kWrongSize) row.push_back(0);
    const double highest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(logit - highest);
    std::vector<int> order(row.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    order.resize(
        std::min<size_t>(order.size(), body["n_probs"].get<int>() + (fault == Fault::kWrongSize)));
    json tops = json::array();
    for (const int id : order) {
      tops.push_back({{"id", id}, {"logprob", row[id] - highest - std::log(sum)}});
    }
    // JSON has no word for it: the library writes null.
    if (fault == Fault::kNan) tops[3]["logprob"] = NAN;
    const int sampled = body.contains("logit_bias") && !body["logit_bias"].empty()
                            ? body["logit_bias"][0][0].get<int>()
                            : order[0];
    reply.SendJson(
        200, json{{"tokens_evaluated", body["prompt"].size()},
                  {"completion_probabilities",
                   json::array({{{"id", sampled}, {"logprob", -1.0}, {"top_logprobs", tops}}})}}
                 .dump());
  }

  std::unique_ptr<HttpTestServer> http_;
};

}  // namespace

std::unique_ptr<FaultyServer> FaultyServer::Create(const std::string& kind, Row row) {
  std::unique_ptr<FaultyServer> server;
  if (kind == "native") server = std::make_unique<NativeServer>(std::move(row));
  if (kind == "kserve") server = std::make_unique<KserveServer>(std::move(row));
  if (kind == "openai") server = std::make_unique<OpenaiServer>(std::move(row));
  server->Start();
  return server;
}

std::string FaultyServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FaultyServer::Set(Fault fault, int times) {
  fault_ = fault;
  times_ = times;
}

Fault FaultyServer::Take() {
  ++asked_;
  return times_-- > 0 ? fault_.load() : Fault::kNone;
}

std::vector<float> FaultyServer::RowOf(std::vector<int32_t> tokens) const {
  if (another_) tokens.insert(tokens.begin(), 1234567);
  return row_(tokens);
}

}  // namespace unlearn
