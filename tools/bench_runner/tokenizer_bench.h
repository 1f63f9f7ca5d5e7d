#ifndef TOOLS_BENCH_RUNNER_TOKENIZER_BENCH_H_
#define TOOLS_BENCH_RUNNER_TOKENIZER_BENCH_H_

#include <string>

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

struct TokenizerBenchOptions {
  CompareOptions compare;
  std::string golden;  // the folder with the golden tokenizers
  std::string text;    // a file of plain text
};

// MB/s of Tokenizer::Encode on one thread, for each golden tokenizer: the whole text in one call,
// and line by line, as requests come. (tests/peers/tokenizers holds the side by side with others.)
absl::Status RunTokenizerBench(const TokenizerBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_TOKENIZER_BENCH_H_
