#include "tools/bench_runner/tokenizer_bench.h"

#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

bool IsTokenizer(const std::string& name) {
  if (absl::EndsWith(name, ".model")) return true;
  return absl::StartsWith(name, "tokenizer_") && absl::EndsWith(name, ".json") &&
         !absl::StrContains(name, "_vectors");
}

absl::Status RunOne(const TokenizerBenchOptions& options, const std::string& name,
                    const std::string& text, const ReportResult& report) {
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(JoinPath(options.golden, name)));
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  size_t ids = 0;
  const auto whole = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<int32_t> encoded, tokenizer->Encode(text));
    ids = encoded.size();
    return absl::OkStatus();
  };
  const auto by_line = [&]() -> absl::Status {
    for (const absl::string_view line : lines) RETURN_IF_ERROR(tokenizer->Encode(line).status());
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(RoundSeconds rounds,
                   Compare({{"whole", whole}, {"lines", by_line}}, options.compare));
  for (auto& seconds : rounds) {
    for (double& value : seconds) value = text.size() / 1e6 / value;
  }
  BenchResult result;
  result.bench = "tokenizer";
  result.sizes["tokenizer"] = name;
  result.sizes["vocabulary"] = tokenizer->vocab_size();
  result.sizes["bytes"] = text.size();
  result.sizes["lines"] = lines.size();
  result.sizes["ids"] = ids;
  result.unit = "MB/s";
  result.figures = {{"one text", SpreadOf(rounds[0])}, {"line by line", SpreadOf(rounds[1])}};
  result.ratios = {{"line by line / one text", RatioOf(rounds[1], rounds[0])}};
  report(result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTokenizerBench(const TokenizerBenchOptions& options, const ReportResult& report) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.text));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(options.golden));
  for (const std::string& name : names) {
    if (IsTokenizer(name)) RETURN_IF_ERROR(RunOne(options, name, text, report));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
