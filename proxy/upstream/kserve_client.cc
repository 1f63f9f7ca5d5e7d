#include "proxy/upstream/kserve_client.h"

#include <optional>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "proxy/upstream/retry_after.h"

namespace unlearn {
namespace {

// Ids are shared by all clients of a server, and nobody hands them out.
int64_t NewSequenceId() {
  static absl::Mutex* const mutex = new absl::Mutex;
  static std::mt19937_64* const random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return new std::mt19937_64(seed);
  }();
  absl::MutexLock lock(mutex);
  return static_cast<int64_t>((*random)() >> 1) | 1;
}

// A call under way. Keeps itself until gRPC is done with it.
class Call {
 public:
  using Done = absl::AnyInvocable<void(const grpc::Status&, absl::StatusOr<UpstreamLogits>)>;

  Call(std::shared_ptr<const KserveConnection> connection, inference::ModelInferRequest request,
       int64_t rows, Done done)
      : connection_(std::move(connection)),
        request_(std::move(request)),
        rows_(rows),
        done_(std::move(done)) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + connection_->timeout));
  }
  virtual ~Call() = default;

  virtual void Start(std::shared_ptr<Call> self) = 0;
  void Cancel() { context_.TryCancel(); }
  // For `done`: how long the server asked us to wait.
  std::optional<absl::Duration> RetryAfter() const { return RetryPushback(context_); }

 protected:
  // The end, once.
  void Finish(const grpc::Status& status, absl::StatusOr<UpstreamLogits> logits) {
    Done done = std::move(done_);
    done(status, std::move(logits));
  }

  const std::shared_ptr<const KserveConnection> connection_;
  const inference::ModelInferRequest request_;
  const int64_t rows_;
  grpc::ClientContext context_;

 private:
  Done done_;
};

class UnaryCall : public Call {
 public:
  using Call::Call;

  void Start(std::shared_ptr<Call> self) override {
    connection_->stub->async()->ModelInfer(
        &context_, &request_, &response_, [this, self](grpc::Status status) mutable {
          const std::shared_ptr<Call> keep = std::move(self);
          UpstreamLogits logits;
          const absl::Status taken =
              status.ok() ? AppendRows(*connection_, response_, rows_, &logits) : absl::OkStatus();
          if (taken.ok()) {
            Finish(status, std::move(logits));
          } else {
            Finish(status, taken);
          }
        });
  }

 private:
  inference::ModelInferResponse response_;
};

// A stream with one request and as many responses as the model likes: their rows together are the
// answer.
class StreamCall : public Call,
                   public grpc::ClientBidiReactor<inference::ModelInferRequest,
                                                  inference::ModelStreamInferResponse> {
 public:
  using Call::Call;

  void Start(std::shared_ptr<Call> self) override {
    self_ = std::move(self);
    connection_->stub->async()->ModelStreamInfer(&context_, this);
    // The server ends the stream after the last response.
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (!response_.error_message().empty()) {
      // No code comes with it. What we send is well-formed, so the server is not.
      if (taken_.ok()) {
        taken_ = KserveError(*connection_,
                             grpc::Status(grpc::StatusCode::INTERNAL, response_.error_message()));
      }
    } else if (taken_.ok() && response_.infer_response().outputs_size() > 0) {
      taken_ = AppendRows(*connection_, response_.infer_response(), 0, &logits_);
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Call> keep = std::move(self_);
    if (taken_.ok() && status.ok() && logits_.rows < rows_) {
      taken_ = absl::UnavailableError(
          absl::StrCat("the upstream ", connection_->address, ", model ", connection_->model,
                       " ended its answer after ", logits_.rows, " of ", rows_, " rows"));
    }
    if (!taken_.ok()) {
      Finish(status, taken_);
      return;
    }
    if (logits_.rows > rows_ && rows_ > 0) {
      const auto surplus = (logits_.rows - rows_) * (logits_.logits.size() / logits_.rows);
      logits_.logits.erase(logits_.logits.begin(), logits_.logits.begin() + surplus);
      logits_.rows = rows_;
    }
    Finish(status, std::move(logits_));
  }

 private:
  std::shared_ptr<Call> self_;
  inference::ModelStreamInferResponse response_;
  UpstreamLogits logits_;
  absl::Status taken_;
};

std::shared_ptr<Call> NewCall(std::shared_ptr<const KserveConnection> connection,
                              inference::ModelInferRequest request, int64_t rows, Call::Done done) {
  if (connection->decoupled) {
    return std::make_shared<StreamCall>(std::move(connection), std::move(request), rows,
                                        std::move(done));
  }
  return std::make_shared<UnaryCall>(std::move(connection), std::move(request), rows,
                                     std::move(done));
}

class KserveClient : public ExchangeClient {
 public:
  explicit KserveClient(std::shared_ptr<const KserveConnection> connection)
      : connection_(std::move(connection)),
        sequence_id_(connection_->keeps_state ? NewSequenceId() : 0) {}

  ~KserveClient() override {
    if (!started_) return;
    // There is no request that only ends: one token is computed for nobody.
    KserveSequence sequence{sequence_id_, /*start=*/false, /*end=*/true};
    const auto call = NewCall(connection_, KserveRequest(*connection_, {last_token_}, sequence), 0,
                              [](const grpc::Status&, absl::StatusOr<UpstreamLogits>) {});
    call->Start(call);
  }

  void Start(Exchange exchange, Callback done) override {
    exchange_ = std::move(exchange);
    done_ = std::move(done);
    Send(connection_->keeps_state ? exchange_.known : 0);
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (call_ != nullptr) call_->Cancel();
  }

 private:
  void Send(int32_t known) {
    KserveSequence sequence{sequence_id_, /*start=*/known == 0, /*end=*/false};
    const auto tokens = absl::MakeConstSpan(exchange_.token_ids).subspan(known);
    started_ = connection_->keeps_state;
    last_token_ = tokens.back();
    const auto call =
        NewCall(connection_, KserveRequest(*connection_, tokens, sequence), exchange_.rows,
                [this, known](const grpc::Status& status, absl::StatusOr<UpstreamLogits> logits) {
                  Take(known, status, std::move(logits));
                });
    {
      absl::MutexLock lock(&mutex_);
      call_ = call;
      if (cancelled_) call->Cancel();
    }
    call->Start(call);
  }

  void Take(int32_t known, const grpc::Status& status, absl::StatusOr<UpstreamLogits> logits) {
    bool cancelled;
    std::optional<absl::Duration> retry_after;
    {
      absl::MutexLock lock(&mutex_);
      if (!status.ok() && call_ != nullptr) retry_after = call_->RetryAfter();
      call_ = nullptr;
      cancelled = cancelled_;
    }
    // The server refuses what follows a sequence that it has forgotten. Nobody has seen anything of
    // this step yet: it may be asked again, from the beginning.
    if (known > 0 && !cancelled && status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
      Send(0);
      return;
    }
    if (!status.ok() && logits.ok()) {
      logits = WithRetryAfter(KserveError(*connection_, status), retry_after);
    }
    Callback done = std::move(done_);
    done(std::move(logits));
  }

  const std::shared_ptr<const KserveConnection> connection_;
  const int64_t sequence_id_;
  bool started_ = false;  // the server may hold the sequence
  int32_t last_token_ = 0;
  Exchange exchange_;
  Callback done_;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Call> call_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<ExchangeClient> NewKserveClient(
    std::shared_ptr<const KserveConnection> connection) {
  return std::make_unique<KserveClient>(std::move(connection));
}

}  // namespace unlearn
