#include "tools/bench_runner/report.h"

#include <stdlib.h>

#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

nlohmann::ordered_json FiguresJson(const std::vector<BenchResult::Figure>& figures) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const BenchResult::Figure& figure : figures) {
    json[figure.name] = {{"median", figure.value.median},
                         {"quartiles", {figure.value.low, figure.value.high}}};
  }
  return json;
}

void AppendFigures(const std::vector<BenchResult::Figure>& figures, const std::string& unit,
                   std::string& text) {
  for (const BenchResult::Figure& figure : figures) {
    absl::StrAppendFormat(&text, "  %-44s %10.4g %-9s (%.4g to %.4g)\n", figure.name,
                          figure.value.median, unit, figure.value.low, figure.value.high);
  }
}

}  // namespace

nlohmann::ordered_json ToJson(const BenchResult& result) {
  return {{"bench", result.bench},
          {"sizes", result.sizes},
          {"unit", result.unit},
          {"figures", FiguresJson(result.figures)},
          {"ratios", FiguresJson(result.ratios)}};
}

std::string ToText(const BenchResult& result) {
  std::vector<std::string> sizes;
  for (const auto& [name, value] : result.sizes.items()) {
    sizes.push_back(
        absl::StrCat(name, " ", value.is_string() ? value.get<std::string>() : value.dump()));
  }
  std::string text = absl::StrCat(result.bench, ": ", absl::StrJoin(sizes, ", "), "\n");
  AppendFigures(result.figures, result.unit, text);
  AppendFigures(result.ratios, "", text);
  return text;
}

nlohmann::ordered_json DescribeMachine() {
  std::string processor = "unknown";
  const absl::StatusOr<std::string> info = ReadFile("/proc/cpuinfo");
  for (const absl::string_view line : absl::StrSplit(info.ok() ? *info : "", '\n')) {
    if (!absl::StartsWith(line, "model name")) continue;
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    processor = std::string(parts.back());
    break;
  }
  double load[1] = {-1};
  if (getloadavg(load, 1) != 1) load[0] = -1;
  return {{"date", absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::Now(), absl::UTCTimeZone())},
          {"processor", processor},
          {"cores", std::thread::hardware_concurrency()},
          {"gpu", "not used"},
          {"load_1_minute", load[0]}};
}

}  // namespace unlearn
