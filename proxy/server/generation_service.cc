#include "proxy/server/generation_service.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/server/generate_call.h"
#include "proxy/server/score_call.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {
namespace {

constexpr int32_t kDefaultMaxTokens = 16;
constexpr int kMaxStopStrings = 16;

grpc::ServerUnaryReactor* Reply(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

constexpr std::pair<v1::Decoding, Decoding> kDecodings[] = {
    {v1::DECODING_AUTO, Decoding::kAuto},
    {v1::DECODING_LOCKSTEP, Decoding::kLockstep},
    {v1::DECODING_DRAFT_AND_VERIFY, Decoding::kDraftAndVerify},
    {v1::DECODING_TOP_K, Decoding::kTopK},
    {v1::DECODING_STREAM_AND_VERIFY, Decoding::kStreamAndVerify},
};

absl::StatusOr<Decoding> DecodingOf(v1::Decoding decoding) {
  for (const auto& [message, mode] : kDecodings) {
    if (message == decoding) return mode;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the field decoding is ", decoding, ", which is no mode"));
}

v1::Decoding MessageOf(Decoding decoding) {
  for (const auto& [message, mode] : kDecodings) {
    if (mode == decoding) return message;
  }
  return v1::DECODING_AUTO;
}

absl::Status Missing(absl::string_view field) {
  return absl::InvalidArgumentError(absl::StrCat("the field ", field, " is missing or empty"));
}

}  // namespace

GenerationService::GenerationService(Scheduler* scheduler, VersionManager* versions,
                                     Upstream* upstream, std::shared_ptr<const Tokenizer> tokenizer,
                                     int32_t max_context, const Authenticator* authenticator)
    : scheduler_(scheduler),
      versions_(versions),
      upstream_(upstream),
      tokenizer_(std::move(tokenizer)),
      max_context_(max_context),
      authenticator_(authenticator) {}

absl::StatusOr<std::vector<int32_t>> GenerationService::CheckIds(absl::string_view field,
                                                                 const v1::TokenIds& ids) const {
  for (const int32_t id : ids.ids()) {
    if (id < 0 || id >= scheduler_->vocab_size()) {
      return absl::InvalidArgumentError(absl::StrCat("the field ", field, " holds ", id,
                                                     ", outside the vocabulary of ",
                                                     scheduler_->vocab_size(), " ids"));
    }
  }
  return std::vector<int32_t>(ids.ids().begin(), ids.ids().end());
}

absl::Status GenerationService::CheckFits(const StreamTask& task) const {
  const int64_t needed =
      static_cast<int64_t>(task.prompt.size()) + (task.forced.empty() ? 1 : task.forced.size());
  if (needed <= max_context_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the prompt of ", task.prompt.size(), " tokens leaves no room in the context of ",
      max_context_, " tokens", task.forced.empty() ? "" : " for the completion",
      "; shorten it (max_context of GetInfo)"));
}

absl::StatusOr<StreamTask> GenerationService::MakeGenerateTask(
    const grpc::ServerContextBase& context, const Caller& caller,
    const v1::GenerateRequest& request) const {
  StreamTask task;
  ASSIGN_OR_RETURN(task.decoding, DecodingOf(request.decoding()));
  task.exact = request.exact();
  task.tenant = caller.tenant;
  const v1::SamplingParameters& sampling = request.sampling();
  task.sampling = {sampling.temperature(), sampling.min_p(), sampling.top_k(),
                   sampling.top_p() == 0 ? 1.0f : sampling.top_p()};
  RETURN_IF_ERROR(CheckSamplingOptions(task.sampling));
  if (sampling.max_tokens() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling.max_tokens is ", sampling.max_tokens(), ", must be 0 or more"));
  }
  if (sampling.stop_size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(absl::StrCat("sampling.stop holds ", sampling.stop_size(),
                                                   " strings, at most ", kMaxStopStrings));
  }
  for (const std::string& stop : sampling.stop()) {
    if (stop.empty()) return absl::InvalidArgumentError("sampling.stop holds an empty string");
  }
  task.seed = sampling.seed();
  if (!sampling.ignore_eos()) task.end_ids = upstream_->info().eos_token_ids;
  task.end_ids.insert(task.end_ids.end(), sampling.stop_token_ids().begin(),
                      sampling.stop_token_ids().end());
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText: {
      ASSIGN_OR_RETURN(task.prompt, tokenizer_->Encode(request.text()));
      break;
    }
    case v1::GenerateRequest::kTokenIds: {
      ASSIGN_OR_RETURN(task.prompt, CheckIds("token_ids", request.token_ids()));
      break;
    }
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  if (task.prompt.empty()) return Missing("prompt (text or token_ids)");
  RETURN_IF_ERROR(CheckFits(task));
  task.max_tokens = sampling.max_tokens() == 0 ? kDefaultMaxTokens : sampling.max_tokens();
  task.max_tokens =
      std::min(task.max_tokens, max_context_ - static_cast<int32_t>(task.prompt.size()));

  if (request.has_offset_version()) {
    RETURN_IF_ERROR(authenticator_->Require(Role::kAdmin, context, "the field offset_version"));
    ASSIGN_OR_RETURN(task.version, versions_->Pinned(request.offset_version()));
  } else {
    ASSIGN_OR_RETURN(task.version, versions_->Current());
  }
  task.alpha = task.version->alpha;
  if (request.has_alpha()) {
    if (!std::isfinite(request.alpha()) || request.alpha() < 0 || request.alpha() > 100) {
      return absl::InvalidArgumentError(
          absl::StrCat("the field alpha is ", request.alpha(), ", must be between 0 and 100"));
    }
    RETURN_IF_ERROR(authenticator_->Require(Role::kAdmin, context, "the field alpha"));
    task.alpha = request.alpha();
  }
  return task;
}

absl::StatusOr<StreamTask> GenerationService::MakeScoreTask(const grpc::ServerContextBase& context,
                                                            const v1::ScoreRequest& request) const {
  StreamTask task;
  ASSIGN_OR_RETURN(const Caller caller, authenticator_->Authenticate(context));
  task.tenant = caller.tenant;
  if (request.prompt_case() == v1::ScoreRequest::kText) {
    ASSIGN_OR_RETURN(task.prompt, tokenizer_->Encode(request.text()));
  } else if (request.prompt_case() == v1::ScoreRequest::kTokenIds) {
    ASSIGN_OR_RETURN(task.prompt, CheckIds("token_ids", request.token_ids()));
  }
  if (task.prompt.empty()) return Missing("prompt (text or token_ids)");
  if (request.completion_case() == v1::ScoreRequest::kCompletionText) {
    ASSIGN_OR_RETURN(task.forced, tokenizer_->EncodeContinuation(request.completion_text()));
  } else if (request.completion_case() == v1::ScoreRequest::kCompletionTokenIds) {
    ASSIGN_OR_RETURN(task.forced, CheckIds("completion_token_ids", request.completion_token_ids()));
  }
  if (request.append_eos()) {
    if (upstream_->info().eos_token_ids.empty()) {
      return absl::InvalidArgumentError("append_eos: M names no end-of-sequence token");
    }
    task.forced.push_back(upstream_->info().eos_token_ids[0]);
  }
  if (task.forced.empty()) return Missing("completion (completion_text or completion_token_ids)");
  RETURN_IF_ERROR(CheckFits(task));
  ASSIGN_OR_RETURN(task.version, versions_->Current());
  task.alpha = task.version->alpha;
  return task;
}

grpc::ServerWriteReactor<v1::GenerateResponse>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  const absl::StatusOr<Caller> caller = authenticator_->Authenticate(*context);
  if (!caller.ok()) return RefuseGenerateCall(caller.status());
  absl::StatusOr<StreamTask> task = MakeGenerateTask(*context, *caller, *request);
  if (!task.ok()) return RefuseGenerateCall(task.status());
  const absl::StatusOr<Decoding> decoding = ChooseDecoding(task->decoding, upstream_->info());
  if (!decoding.ok()) return RefuseGenerateCall(decoding.status());
  GenerateCallOptions options;
  options.decoding = MessageOf(*decoding);
  options.shows_bounds = caller->role == Role::kAdmin && upstream_->info().top > 0;
  return StartGenerateCall(scheduler_, *std::move(task), tokenizer_,
                           {request->sampling().stop().begin(), request->sampling().stop().end()},
                           options);
}

grpc::ServerUnaryReactor* GenerationService::Score(grpc::CallbackServerContext* context,
                                                   const v1::ScoreRequest* request,
                                                   v1::ScoreResponse* response) {
  absl::StatusOr<StreamTask> task = MakeScoreTask(*context, *request);
  if (!task.ok()) return Reply(context, task.status());
  return StartScoreCall(scheduler_, *std::move(task), response);
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const v1::TokenizeRequest* request,
                                                      v1::TokenizeResponse* response) {
  const auto run = [&]() -> absl::Status {
    RETURN_IF_ERROR(authenticator_->Require(Role::kUser, *context, "tokenization"));
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                     tokenizer_->Encode(request->text(), request->add_special_tokens()));
    response->mutable_token_ids()->Add(ids.begin(), ids.end());
    return absl::OkStatus();
  };
  return Reply(context, run());
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const v1::DetokenizeRequest* request,
                                                        v1::DetokenizeResponse* response) {
  const auto run = [&]() -> absl::Status {
    RETURN_IF_ERROR(authenticator_->Require(Role::kUser, *context, "detokenization"));
    const std::vector<int32_t> ids(request->token_ids().begin(), request->token_ids().end());
    ASSIGN_OR_RETURN(*response->mutable_text(),
                     tokenizer_->Decode(ids, /*skip_special_tokens=*/false));
    return absl::OkStatus();
  };
  return Reply(context, run());
}

grpc::ServerUnaryReactor* GenerationService::GetInfo(grpc::CallbackServerContext* context,
                                                     const v1::GetInfoRequest* request,
                                                     v1::GetInfoResponse* response) {
  const auto run = [&]() -> absl::Status {
    RETURN_IF_ERROR(authenticator_->Require(Role::kUser, *context, "information"));
    const UpstreamInfo& model = upstream_->info();
    response->set_model_id(model.model_id);
    response->set_model_fingerprint(model.weights_fingerprint);
    response->set_tokenizer_fingerprint(tokenizer_->fingerprint());
    response->set_vocab_size(static_cast<int32_t>(scheduler_->vocab_size()));
    response->set_max_context(max_context_);
    response->set_upstream_kind(model.kind);
    for (const int32_t id : model.eos_token_ids) response->add_eos_token_ids(id);
    for (const Decoding decoding : PossibleDecodings(model)) {
      response->add_decodings(MessageOf(decoding));
    }
    response->set_upstream_top(model.top);
    response->set_upstream_most_top(model.most_top);
    ASSIGN_OR_RETURN(const std::shared_ptr<const ServedVersion> version, versions_->Current());
    response->set_offset_version(version->version);
    response->set_alpha(version->alpha);
    return absl::OkStatus();
  };
  return Reply(context, run());
}

}  // namespace unlearn
