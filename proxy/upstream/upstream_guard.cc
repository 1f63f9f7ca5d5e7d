#include "proxy/upstream/upstream_guard.h"

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "offset/base/status_macros.h"
#include "proxy/upstream/retry_after.h"

namespace unlearn {
namespace {

// Only what a server does, not what it was asked, speaks against it.
bool SpeaksOfServer(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsInternal(status);
}

CircuitBreaker::Options WithRandom(CircuitBreaker::Options options,
                                   std::function<double()> random) {
  if (!options.random) options.random = std::move(random);
  return options;
}

prometheus::Counter& Counter(prometheus::Registry& registry, const std::string& name,
                             const std::string& help,
                             const std::map<std::string, std::string>& labels = {}) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}

constexpr char kRetries[] = "unlearn_upstream_retries_total";
constexpr char kRetriesHelp[] = "Steps of M that were asked once more, by what came of it";

}  // namespace

UpstreamGuard::UpstreamGuard(Upstream* upstream, ModelWatch* watch, const GuardOptions& options,
                             std::shared_ptr<prometheus::Registry> registry)
    : options_(options),
      registry_(std::move(registry)),
      state_gauge_(
          prometheus::BuildGauge()
              .Name("unlearn_upstream_breaker_state")
              .Help("0: M is asked; 1: one stream tries it; 2: it is spared after failures")
              .Register(*registry_)
              .Add({})),
      failures_(prometheus::BuildCounter()
                    .Name("unlearn_upstream_failures_total")
                    .Help("Steps and sessions that M failed, by the error's code")
                    .Register(*registry_)),
      refused_(Counter(*registry_, "unlearn_upstream_refused_total",
                       "Sessions that M was not asked for, to spare it or as it is another model")),
      retries_answered_(Counter(*registry_, kRetries, kRetriesHelp, {{"outcome", "answered"}})),
      retries_failed_(Counter(*registry_, kRetries, kRetriesHelp, {{"outcome", "failed"}})),
      upstream_(upstream),
      watch_(watch),
      random_(std::random_device()()),
      breaker_(WithRandom(options.breaker,
                          [this] { return std::uniform_real_distribution<double>()(random_); })) {}

void UpstreamGuard::Close() {
  absl::WriterMutexLock closing(&closing_);
  upstream_ = nullptr;
  watch_ = nullptr;
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> UpstreamGuard::NewSession(bool* trial) {
  *trial = false;
  absl::ReaderMutexLock closing(&closing_);
  if (upstream_ == nullptr) return absl::UnavailableError("the upstream was closed");
  absl::Status admitted = watch_->verdict();
  if (admitted.ok()) {
    absl::MutexLock lock(&mutex_);
    admitted = breaker_.Admit(options_.now(), trial);
    ShowState();
  }
  if (!admitted.ok()) {
    refused_.Increment();
    return admitted;
  }
  const absl::Time sent = options_.now();
  absl::StatusOr<std::unique_ptr<UpstreamSession>> session = upstream_->NewSession();
  if (!session.ok()) {
    Judge(session.status(), sent);
    if (*trial) GiveTrialBack();
    *trial = false;
  }
  return session;
}

void UpstreamGuard::GiveTrialBack() {
  absl::MutexLock lock(&mutex_);
  breaker_.GiveTrialBack();
}

void UpstreamGuard::Judge(const absl::Status& status, absl::Time sent) {
  absl::MutexLock lock(&mutex_);
  if (status.ok()) {
    breaker_.Success(sent);
  } else if (!absl::IsCancelled(status)) {
    failures_.Add({{"code", absl::StatusCodeToString(status.code())}}).Increment();
    if (SpeaksOfServer(status)) breaker_.Failure(options_.now(), sent, status);
    if (const auto wait = RetryAfterOf(status)) breaker_.Wait(options_.now(), *wait, status);
  }
  ShowState();
}

absl::StatusOr<bool> UpstreamGuard::MayPass(ModelWatch::Released released) {
  absl::ReaderMutexLock closing(&closing_);
  if (watch_ == nullptr) return absl::UnavailableError("the upstream was closed");
  return watch_->MayPass(std::move(released));
}

std::optional<absl::Duration> UpstreamGuard::RetryIn(const absl::Status& status) {
  if (options_.retry_delay < absl::ZeroDuration()) return std::nullopt;
  const std::optional<absl::Duration> asked = RetryAfterOf(status);
  if (asked.has_value()) {
    if (*asked > options_.longest_retry_delay) return std::nullopt;
    // What is refused until then must not come a moment too early.
    return *asked + absl::Milliseconds(10);
  }
  if (!absl::IsUnavailable(status)) return std::nullopt;
  absl::MutexLock lock(&mutex_);
  if (breaker_.state() != CircuitBreaker::State::kClosed) return std::nullopt;
  return options_.retry_delay * std::uniform_real_distribution<double>(0.5, 1.5)(random_);
}

void UpstreamGuard::ShowState() { state_gauge_.Set(static_cast<double>(breaker_.state())); }

}  // namespace unlearn
