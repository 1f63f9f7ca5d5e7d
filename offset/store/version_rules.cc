#include "offset/store/version_rules.h"

#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace unlearn {
namespace {

constexpr absl::string_view kKnownCombiners[] = {"delta"};

bool IsSha256(absl::string_view text) {
  if (text.size() != 64) return false;
  for (const char c : text) {
    if (!absl::ascii_isdigit(c) && (c < 'a' || c > 'f')) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> EnforcedRequests(const v1::Manifest& manifest) {
  if (!(manifest.alpha() > 0)) return {};
  return {manifest.request_ids().begin(), manifest.request_ids().end()};
}

std::vector<std::string> RequestsLost(const v1::Manifest& from, const v1::Manifest& to) {
  return RequestsLost(EnforcedRequests(from), to);
}

std::vector<std::string> RequestsLost(absl::Span<const std::string> enforced,
                                      const v1::Manifest& to) {
  const std::vector<std::string> after = EnforcedRequests(to);
  absl::flat_hash_set<absl::string_view> known(after.begin(), after.end());
  std::vector<std::string> lost;
  for (const std::string& request_id : enforced) {
    if (known.insert(request_id).second) lost.push_back(request_id);  // once, if listed twice
  }
  return lost;
}

absl::Status CheckNothingUnforgotten(absl::string_view action, absl::Span<const std::string> lost,
                                     absl::Span<const std::string> reintroduce) {
  const absl::flat_hash_set<absl::string_view> wanted(reintroduce.begin(), reintroduce.end());
  std::vector<std::string> refused;
  for (const std::string& request_id : lost) {
    if (!wanted.contains(request_id)) refused.push_back(request_id);
  }
  if (refused.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      action, " would un-forget ", refused.size(), refused.size() == 1 ? " request" : " requests",
      " that the active version enforces: ", absl::StrJoin(refused, ", "),
      ". If that is meant, give --reintroduce ", absl::StrJoin(refused, " --reintroduce "),
      " (it is recorded in the audit log)"));
}

bool IsValidRequestId(absl::string_view request_id) {
  if (request_id.empty() || request_id.size() > 128 || request_id[0] == '.') return false;
  for (const char c : request_id) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

std::string AdapterFileName(absl::string_view request_id) {
  return absl::StrCat("adapter-", request_id, ".sealed");
}

absl::Status CheckManifest(const v1::Manifest& manifest) {
  const auto error = [&manifest](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("manifest of version ", manifest.version(), ": ", what...));
  };
  if (!std::isfinite(manifest.alpha()) || manifest.alpha() < 0) {
    return error("alpha is ", manifest.alpha(), "; it must be finite and not negative");
  }
  bool known = false;
  for (const absl::string_view combiner : kKnownCombiners) known |= manifest.combiner() == combiner;
  if (!known) {
    return error("combiner is \"", manifest.combiner(), "\"; this release knows ",
                 absl::StrJoin(kKnownCombiners, ", "));
  }
  if (manifest.vocab_size() < 0) return error("vocab_size is ", manifest.vocab_size());
  absl::flat_hash_set<absl::string_view> requests;
  for (int i = 0; i < manifest.request_ids_size(); ++i) {
    const std::string& request_id = manifest.request_ids(i);
    if (!IsValidRequestId(request_id)) {
      return error("request_ids[", i, "] (", request_id.size(),
                   " bytes) is not a request id: 1 to 128 letters, digits, '_', '.' and '-', not "
                   "beginning with '.'");
    }
    if (!requests.insert(request_id).second) {
      return error("request_ids[", i, "] lists ", request_id, " a second time");
    }
  }
  absl::flat_hash_set<absl::string_view> with_adapter;
  for (int i = 0; i < manifest.adapters_size(); ++i) {
    const v1::AdapterFile& adapter = manifest.adapters(i);
    const auto where = absl::StrCat("adapters[", i, "]");
    if (!requests.contains(adapter.request_id())) {
      return error(where, ".request_id is not among request_ids");
    }
    if (!with_adapter.insert(adapter.request_id()).second) {
      return error(where, " is a second adapter of request ", adapter.request_id());
    }
    if (adapter.file() != AdapterFileName(adapter.request_id())) {
      return error(where, ".file is not ", AdapterFileName(adapter.request_id()));
    }
    if (!IsSha256(adapter.sha256())) return error(where, ".sha256 is not 64 hexadecimal digits");
    if (adapter.rank() <= 0) return error(where, ".rank is ", adapter.rank(), "; must be > 0");
  }
  return absl::OkStatus();
}

}  // namespace unlearn
