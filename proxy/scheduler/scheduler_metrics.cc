#include "proxy/scheduler/scheduler_metrics.h"

#include <string>

namespace unlearn {
namespace {

prometheus::Counter& Counter(prometheus::Registry& registry, const std::string& name,
                             const std::string& help,
                             const std::map<std::string, std::string>& labels = {}) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}

prometheus::Histogram& Seconds(prometheus::Registry& registry, const std::string& name,
                               const std::string& help) {
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10};
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, kBuckets);
}

}  // namespace

SchedulerMetrics::SchedulerMetrics(prometheus::Registry& registry)
    : tokens(Counter(registry, "unlearn_tokens_total", "Tokens drawn from the ensemble")),
      prompt_tokens(Counter(registry, "unlearn_prompt_tokens_total", "Prompt tokens taken in")),
      known_prompt_tokens(Counter(registry, "unlearn_known_prompt_tokens_total",
                                  "Prompt tokens that the pair had run before")),
      undecided(Counter(registry, "unlearn_undecided_total",
                        "Answers of M whose most likely tokens did not settle the ensemble's")),
      drafts(Counter(registry, "unlearn_drafts_total",
                     "Tokens that the pair drafted and M was asked about")),
      drafts_stood(Counter(registry, "unlearn_drafts_stood_total",
                           "Drafted tokens that were the ensemble's")),
      streamed_accepted(Counter(registry, "unlearn_streamed_tokens_total",
                                "Tokens of M's own streams by what became of them",
                                {{"outcome", "accepted"}})),
      streamed_replaced(Counter(registry, "unlearn_streamed_tokens_total",
                                "Tokens of M's own streams by what became of them",
                                {{"outcome", "replaced"}})),
      streams_finished(Counter(registry, "unlearn_requests_total", "Streams by how they ended",
                               {{"outcome", "finished"}})),
      streams_failed(Counter(registry, "unlearn_requests_total", "Streams by how they ended",
                             {{"outcome", "failed"}})),
      streams_refused(Counter(registry, "unlearn_requests_total", "Streams by how they ended",
                              {{"outcome", "refused"}})),
      streams_running(prometheus::BuildGauge()
                          .Name("unlearn_streams_running")
                          .Help("Streams under way")
                          .Register(registry)
                          .Add({})),
      first_token(Seconds(registry, "unlearn_time_to_first_token_seconds",
                          "Submission of a stream to its first token")),
      inter_token(Seconds(registry, "unlearn_inter_token_seconds", "Between tokens of a stream")),
      upstream_round_trip(
          Seconds(registry, "unlearn_upstream_round_trip_seconds", "One step of M, as seen here")),
      pair_step(Seconds(registry, "unlearn_pair_step_seconds",
                        "One pass of the pair; on a GPU until it is queued")),
      pair_rows(prometheus::BuildHistogram()
                    .Name("unlearn_pair_step_tokens")
                    .Help("Tokens in one pass of the pair")
                    .Register(registry)
                    .Add({}, prometheus::Histogram::BucketBoundaries{1, 2, 4, 8, 16, 32, 64, 128,
                                                                     256, 512})) {}

}  // namespace unlearn
