#include "tools/bench_runner/proxied_streams.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"
#include "offset/base/status_macros.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {

absl::StatusOr<uint64_t> PublishAdapter(const std::string& store_folder,
                                        const std::string& store_key_file,
                                        const LoraAdapter& adapter) {
  ASSIGN_OR_RETURN(SealingKey key, SealingKey::Load(store_key_file));
  ASSIGN_OR_RETURN(const auto store, VersionStore::Open(store_folder, std::move(key)));
  ASSIGN_OR_RETURN(v1::Manifest draft, store->ReadManifest(0));
  draft.clear_created_unix_seconds();
  draft.add_request_ids("bench");
  draft.set_objective("random");
  ASSIGN_OR_RETURN(
      const uint64_t version,
      store->Publish(std::move(draft), {{"bench", adapter.config().rank, adapter.Serialize()}}));
  RETURN_IF_ERROR(store->Activate(version, {}, "tools/bench"));
  return version;
}

absl::Status WaitForVersion(const std::string& proxy_address, uint64_t version) {
  const auto stub = v1::GenerationService::NewStub(
      grpc::CreateChannel(proxy_address, grpc::InsecureChannelCredentials()));
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    v1::GetInfoResponse info;
    RETURN_IF_ERROR(FromGrpcStatus(stub->GetInfo(&context, {}, &info)));
    if (info.offset_version() == version) return absl::OkStatus();
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("the proxy still serves version ",
                                                      info.offset_version(), ", not ", version));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

KeptAwake::KeptAwake(const std::string& proxy_address)
    : thread_([this, proxy_address] {
        const auto stub = v1::GenerationService::NewStub(
            grpc::CreateChannel(proxy_address, grpc::InsecureChannelCredentials()));
        while (!stop_.WaitForNotificationWithTimeout(absl::Milliseconds(200))) {
          grpc::ClientContext context;
          context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
          v1::GetInfoResponse info;
          // What is wrong shows in the streams.
          (void)stub->GetInfo(&context, {}, &info);
        }
      }) {}

KeptAwake::~KeptAwake() {
  stop_.Notify();
  thread_.join();
}

std::vector<std::vector<int32_t>> BenchPrompts(int count, int tokens, int vocabulary) {
  std::vector<std::vector<int32_t>> prompts(count);
  for (int i = 0; i < count; ++i) {
    for (int at = 0; at < tokens; ++at) {
      prompts[i].push_back((i * 7919 + at * 104729 + 300) % vocabulary);
    }
  }
  return prompts;
}

absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeProxied(
    const Asker& asker, const std::vector<std::vector<int32_t>>& prompts,
    const ProxiedOptions& options) {
  std::vector<absl::Status> statuses(prompts.size());
  std::vector<std::vector<int32_t>> tokens(prompts.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < prompts.size(); ++i) {
    clients.emplace_back([&, i] {
      v1::GenerateRequest request;
      request.mutable_token_ids()->mutable_ids()->Add(prompts[i].begin(), prompts[i].end());
      request.mutable_sampling()->set_max_tokens(options.tokens);
      request.mutable_sampling()->set_ignore_eos(true);
      request.set_decoding(options.decoding);
      const absl::StatusOr<Answer> answer = asker.Generate(request);
      statuses[i] = answer.status();
      if (!answer.ok()) return;
      for (const v1::GeneratedToken& token : answer->tokens) {
        tokens[i].push_back(token.id());
        if (token.offset_version() != options.version) {
          statuses[i] = absl::InternalError("a stream came from another version");
        }
      }
      if (static_cast<int>(tokens[i].size()) != options.tokens) {
        statuses[i] = absl::InternalError(
            absl::StrCat("a stream had ", tokens[i].size(), " tokens instead of ", options.tokens));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return tokens;
}

}  // namespace unlearn
