// The program behind tools/bench, which builds it and the servers and then runs it.

#include <ATen/Parallel.h>
#include <time.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/bench_runner/combine_bench.h"
#include "tools/bench_runner/pair_bench.h"
#include "tools/bench_runner/proxy_bench.h"
#include "tools/bench_runner/report.h"
#include "tools/bench_runner/tokenizer_bench.h"
#include "tools/bench_runner/train_bench.h"
#include "tools/bench_runner/transformers_bench.h"
#include "tools/bench_runner/upstream_bench.h"
#include "tools/bench_runner/wire_bench.h"

ABSL_FLAG(std::string, only, "combine,pair,proxy,train", "Which benchmarks to run, with commas.");
ABSL_FLAG(int, rounds, 9, "Rounds of each comparison; a round runs every contender in turn.");
ABSL_FLAG(absl::Duration, round_time, absl::Milliseconds(200),
          "How long a contender repeats its work in a round, at least.");
ABSL_FLAG(bool, small, false, "Leaves out the models of about 110 million parameters.");
ABSL_FLAG(double, delay_ms, 20,
          "proxy: what each step of M takes on top of its computation; upstream: what it takes.");
ABSL_FLAG(int, tokens, 48, "proxy, upstream: tokens of each stream.");
ABSL_FLAG(double, agreement, 0.75,
          "upstream: the share of positions at which the pair's draft is to be right.");
ABSL_FLAG(std::string, clock, "wall",
          "all but proxy, upstream and wire: wall, or cpu: the processor time of all threads, "
          "which other work on the "
          "machine hardly changes.");
ABSL_FLAG(int, threads, 0, "pair, train: threads of matrix products; 0: one per core.");
ABSL_FLAG(std::string, python, "",
          "transformers: the Python of an environment with torch and transformers.");
ABSL_FLAG(std::string, script, "", "transformers: path of transformers_pair.py.");
ABSL_FLAG(bool, json, false, "Prints one JSON object instead of text.");
ABSL_FLAG(std::string, golden, "", "tokenizer: the folder with the golden tokenizers.");
ABSL_FLAG(std::string, text, "", "tokenizer: a file of plain text.");
ABSL_FLAG(std::string, commit, "", "What was built, for the report.");
ABSL_FLAG(std::string, work, "", "An empty folder for models, store and logs; emptied at the end.");
ABSL_FLAG(std::string, unlearn, "", "Path of the program unlearn.");
ABSL_FLAG(std::string, model_server, "", "Path of unlearn_model_server.");
ABSL_FLAG(std::string, proxy, "", "Path of unlearn_proxy.");
ABSL_FLAG(std::string, trainer, "", "Path of unlearn_trainer.");

namespace unlearn {
namespace {

// Processor time of this process, as a time since it began.
absl::Time ProcessorTime() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return absl::TimeFromTimespec(time);
}

absl::Status RunOne(const std::string& bench, const ReportResult& report) {
  CompareOptions compare;
  compare.rounds = absl::GetFlag(FLAGS_rounds);
  compare.least = absl::GetFlag(FLAGS_round_time);
  // The proxy's cost is in other processes, and in waiting.
  if (bench != "proxy" && bench != "upstream" && absl::GetFlag(FLAGS_clock) == "cpu")
    compare.now = ProcessorTime;
  const std::string work = absl::GetFlag(FLAGS_work);
  if (bench == "combine") return RunCombineBench(compare, report);
  if (bench == "pair") {
    PairBenchOptions options;
    options.compare = compare;
    options.large = !absl::GetFlag(FLAGS_small);
    options.work = JoinPath(work, bench);
    return RunPairBench(options, report);
  }
  if (bench == "transformers") {
    TransformersBenchOptions options;
    options.compare = compare;
    options.python = absl::GetFlag(FLAGS_python);
    options.script = absl::GetFlag(FLAGS_script);
    options.large = !absl::GetFlag(FLAGS_small);
    options.work = JoinPath(work, bench);
    return RunTransformersBench(options, report);
  }
  if (bench == "proxy") {
    ProxyBenchOptions options;
    options.compare = compare;
    options.programs = {absl::GetFlag(FLAGS_unlearn), absl::GetFlag(FLAGS_model_server),
                        absl::GetFlag(FLAGS_proxy), absl::GetFlag(FLAGS_trainer)};
    options.work = JoinPath(work, bench);
    options.delay_ms = absl::GetFlag(FLAGS_delay_ms);
    options.tokens = absl::GetFlag(FLAGS_tokens);
    return RunProxyBench(options, report);
  }
  if (bench == "upstream") {
    UpstreamBenchOptions options;
    options.compare = compare;
    options.unlearn = absl::GetFlag(FLAGS_unlearn);
    options.proxy = absl::GetFlag(FLAGS_proxy);
    options.work = JoinPath(work, bench);
    options.base = MiddleBase().config;
    options.model.call = absl::Milliseconds(absl::GetFlag(FLAGS_delay_ms));
    options.model.position = absl::Microseconds(500);
    options.agreement = absl::GetFlag(FLAGS_agreement);
    options.tokens = absl::GetFlag(FLAGS_tokens);
    return RunUpstreamBench(options, report);
  }
  if (bench == "wire") {
    WireBenchOptions options;
    options.rounds = compare.rounds;
    return RunWireBench(options, report);
  }
  if (bench == "tokenizer") {
    TokenizerBenchOptions options;
    options.compare = compare;
    options.golden = absl::GetFlag(FLAGS_golden);
    options.text = absl::GetFlag(FLAGS_text);
    return RunTokenizerBench(options, report);
  }
  TrainBenchOptions options;
  options.compare = compare;
  options.large = !absl::GetFlag(FLAGS_small);
  return RunTrainBench(options, report);
}

absl::Status CheckFlags(const std::vector<std::string>& benches) {
  const std::vector<std::string> known = {"combine",   "pair",         "proxy",    "train",
                                          "tokenizer", "transformers", "upstream", "wire"};
  for (const std::string& bench : benches) {
    if (std::find(known.begin(), known.end(), bench) == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--only: ", bench, " is none of ", absl::StrJoin(known, ", ")));
    }
  }
  const std::string clock = absl::GetFlag(FLAGS_clock);
  if (clock != "wall" && clock != "cpu") {
    return absl::InvalidArgumentError(absl::StrCat("--clock: ", clock, " is neither wall nor cpu"));
  }
  if (absl::GetFlag(FLAGS_rounds) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--rounds: ", absl::GetFlag(FLAGS_rounds), " is not a number from 1 up"));
  }
  // A version is served within a context of 256 tokens.
  if (absl::GetFlag(FLAGS_tokens) < 1 || absl::GetFlag(FLAGS_tokens) > 200) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tokens: ", absl::GetFlag(FLAGS_tokens), " is not from 1 to 200"));
  }
  if (!(absl::GetFlag(FLAGS_delay_ms) >= 0)) {
    return absl::InvalidArgumentError("--delay_ms is not a number from 0 up");
  }
  if (!(absl::GetFlag(FLAGS_agreement) > 0 && absl::GetFlag(FLAGS_agreement) < 1)) {
    return absl::InvalidArgumentError("--agreement is not a number between 0 and 1");
  }
  if (absl::GetFlag(FLAGS_threads) < 0) {
    return absl::InvalidArgumentError("--threads is negative; 0 uses every core");
  }
  if (absl::GetFlag(FLAGS_work).empty()) {
    return absl::InvalidArgumentError("--work is required; run tools/bench, which sets it");
  }
  return absl::OkStatus();
}

absl::Status RunAll(const std::vector<std::string>& benches) {
  if (absl::GetFlag(FLAGS_threads) > 0) at::set_num_threads(absl::GetFlag(FLAGS_threads));
  const bool as_json = absl::GetFlag(FLAGS_json);
  nlohmann::ordered_json all = DescribeMachine();
  all["commit"] = absl::GetFlag(FLAGS_commit);
  all["clock"] = absl::GetFlag(FLAGS_clock);
  all["rounds"] = absl::GetFlag(FLAGS_rounds);
  if (!as_json) std::cout << all.dump() << "\n(middle and quartiles of the rounds)\n" << std::endl;
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  const ReportResult report = [&](const BenchResult& result) {
    results.push_back(ToJson(result));
    (as_json ? std::cerr : std::cout) << ToText(result) << std::endl;
  };
  for (const std::string& bench : benches) RETURN_IF_ERROR(RunOne(bench, report));
  const nlohmann::ordered_json load = DescribeMachine()["load_1_minute"];
  all["load_1_minute_at_end"] = load;
  all["results"] = std::move(results);
  if (as_json) {
    std::cout << all.dump() << std::endl;
  } else {
    std::cout << "load at the end: " << load.dump() << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace unlearn

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("The benchmarks; run tools/bench instead.");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const std::vector<std::string> benches =
      absl::StrSplit(absl::GetFlag(FLAGS_only), ',', absl::SkipEmpty());
  absl::Status status = unlearn::CheckFlags(benches);
  if (rest.size() > 1) {
    status = absl::InvalidArgumentError(absl::StrCat("unexpected argument ", rest[1]));
  }
  if (!status.ok()) {
    std::cerr << "bench: " << status.message() << "\n";
    return 2;
  }
  status = unlearn::RunAll(benches);
  if (status.ok()) return 0;
  std::cerr << "bench: " << status.message() << "\n";
  return 1;
}
