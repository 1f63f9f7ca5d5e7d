#include "tools/cli/manifest_view.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace unlearn {
namespace {

std::map<std::string, double> SortedScores(const v1::Manifest& manifest) {
  return {manifest.scores().begin(), manifest.scores().end()};
}

}  // namespace

Json SummaryJson(const v1::VersionSummary& summary) {
  const v1::Manifest& manifest = summary.manifest();
  Json request_ids = Json::array();
  for (const std::string& id : manifest.request_ids()) request_ids.push_back(id);
  return {
      {"version", manifest.version()}, {"active", summary.active()},
      {"problem", summary.problem()},  {"created_unix_seconds", manifest.created_unix_seconds()},
      {"alpha", manifest.alpha()},     {"objective", manifest.objective()},
      {"request_ids", request_ids}};
}

Json ManifestJson(const v1::VersionSummary& summary) {
  const v1::Manifest& manifest = summary.manifest();
  Json json = SummaryJson(summary);
  json["combiner"] = manifest.combiner();
  json["seed"] = manifest.seed();
  json["model_id"] = manifest.model_id();
  json["model_probes"] = manifest.model_fingerprint().probes_size();
  json["tokenizer_fingerprint"] = manifest.tokenizer_fingerprint();
  json["pair_fingerprint"] = manifest.pair_fingerprint();
  json["vocab_size"] = manifest.vocab_size();
  json["adapters"] = Json::array();
  for (const v1::AdapterFile& adapter : manifest.adapters()) {
    json["adapters"].push_back({{"file", adapter.file()},
                                {"sha256", adapter.sha256()},
                                {"request_id", adapter.request_id()},
                                {"rank", adapter.rank()}});
  }
  json["scores"] = Json::object();
  for (const auto& [name, score] : SortedScores(manifest)) json["scores"][name] = score;
  return json;
}

std::string SummaryLine(const v1::VersionSummary& summary) {
  const v1::Manifest& manifest = summary.manifest();
  std::string line = absl::StrCat(summary.active() ? "* " : "  ", manifest.version());
  if (!summary.problem().empty()) {
    return absl::StrCat(line, "  PROBLEM: ", ForTerminal(summary.problem()));
  }
  absl::StrAppend(&line, "  ", FormatUnixSeconds(manifest.created_unix_seconds()), "  alpha ",
                  manifest.alpha(), "  ", manifest.request_ids_size(), " requests");
  if (!manifest.objective().empty()) {
    absl::StrAppend(&line, "  ", ForTerminal(manifest.objective()));
  }
  return line;
}

std::string ManifestDetails(const v1::VersionSummary& summary) {
  const v1::Manifest& manifest = summary.manifest();
  std::string text = absl::StrCat(SummaryLine(summary), "\n");
  absl::StrAppend(&text, "  M: ", ForTerminal(manifest.model_id()), ", ", manifest.vocab_size(),
                  " rows of logits, recognised by ", manifest.model_fingerprint().probes_size(),
                  " probes\n  tokenizer: ", manifest.tokenizer_fingerprint(),
                  "\n  pair: ", manifest.pair_fingerprint(),
                  "\n  combiner: ", ForTerminal(manifest.combiner()), "\n");
  for (const v1::AdapterFile& adapter : manifest.adapters()) {
    absl::StrAppend(&text, "  adapter of request ", adapter.request_id(), ": rank ", adapter.rank(),
                    ", sha256 ", adapter.sha256(), "\n");
  }
  for (const std::string& id : manifest.request_ids()) {
    absl::StrAppend(&text, "  enforces ", ForTerminal(id), "\n");
  }
  for (const auto& [name, score] : SortedScores(manifest)) {
    absl::StrAppendFormat(&text, "  %s: %.4f\n", ForTerminal(name), score);
  }
  return text;
}

}  // namespace unlearn
