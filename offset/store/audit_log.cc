#include "offset/store/audit_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/store/durable_file.h"

namespace unlearn {
namespace {

// A line is its body, an object without the closing brace, followed by the MAC of the body.
constexpr absl::string_view kBeforeMac = ",\"mac\":\"";
constexpr absl::string_view kAfterMac = "\"}";
constexpr size_t kMacSize = 64;
constexpr absl::string_view kFirst = "first";  // stands for the MAC before the first line

// False when the line has not that form.
bool SplitLine(absl::string_view line, absl::string_view* body, absl::string_view* mac) {
  const size_t suffix = kBeforeMac.size() + kMacSize + kAfterMac.size();
  if (line.size() < suffix || !absl::EndsWith(line, kAfterMac)) return false;
  *body = line.substr(0, line.size() - suffix);
  if (line.substr(body->size(), kBeforeMac.size()) != kBeforeMac) return false;
  *mac = line.substr(body->size() + kBeforeMac.size(), kMacSize);
  return true;
}

}  // namespace

AuditLog::AuditLog(std::string path, const SealingKey* key) : path_(std::move(path)), key_(key) {}

std::string AuditLog::LineMac(absl::string_view previous_mac, absl::string_view body) const {
  return key_->Mac(absl::StrCat("audit line\n", previous_mac, "\n", body));
}

absl::StatusOr<std::string> AuditLog::Write(int fd, const std::string& previous_mac,
                                            uint64_t sequence, nlohmann::json fields,
                                            size_t end) const {
  fields["sequence"] = sequence;
  fields["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  std::string line =
      fields.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  line.pop_back();  // the closing brace
  const std::string mac = LineMac(previous_mac, line);
  absl::StrAppend(&line, kBeforeMac, mac, kAfterMac, "\n");
  absl::Status status = WriteAllTo(fd, line, path_);
  if (status.ok() && fsync(fd) != 0) status = FileError("cannot sync", path_);
  if (!status.ok()) {
    // Should this fail as well, the next Append finds an unfinished line and repairs it.
    if (ftruncate(fd, end) == 0) fsync(fd);
    return status;
  }
  return mac;
}

absl::StatusOr<std::string> AuditLog::Append(nlohmann::json fields) {
  std::string text;
  const bool is_new = !FileExists(path_);
  if (!is_new) {
    ASSIGN_OR_RETURN(text, ReadFile(path_));
  }
  const size_t complete = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  const size_t unfinished = text.size() - complete;
  text.resize(complete);

  // A damaged log is not repaired and does not stop the store, whose duty to forget goes on: new
  // lines go on from the last MAC as it stands, and Read() reports the damage.
  std::string previous(kFirst);
  if (complete > 0) {
    const size_t start = complete >= 2 ? text.rfind('\n', complete - 2) : std::string::npos;
    const size_t from = start == std::string::npos ? 0 : start + 1;
    const absl::string_view last = absl::string_view(text).substr(from, complete - 1 - from);
    absl::string_view body;
    absl::string_view mac;
    previous = SplitLine(last, &body, &mac) ? std::string(mac) : "damaged";
  }
  uint64_t sequence = std::count(text.begin(), text.end(), '\n');

  const int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot open", path_);
  absl::StatusOr<std::string> mac = previous;
  if (unfinished > 0) {
    if (ftruncate(fd, complete) != 0) {
      mac = FileError("cannot truncate", path_);
    } else {
      mac = Write(fd, previous, sequence, {{"event", "repair"}, {"bytes_removed", unfinished}},
                  complete);
      ++sequence;
    }
  }
  if (mac.ok()) {
    const off_t end = lseek(fd, 0, SEEK_END);
    mac = Write(fd, *mac, sequence, std::move(fields), end);
  }
  if (close(fd) != 0 && mac.ok()) mac = FileError("cannot close", path_);
  if (mac.ok() && is_new) {
    RETURN_IF_ERROR(SyncFolder(path_.substr(0, path_.rfind('/'))));
  }
  return mac;
}

absl::StatusOr<std::vector<AuditRecord>> AuditLog::Read() const {
  std::vector<AuditRecord> records;
  const absl::StatusOr<std::string> text = ReadFile(path_);
  if (absl::IsNotFound(text.status())) return records;
  RETURN_IF_ERROR(text.status());
  const auto damaged = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(
        path_, " line ", records.size() + 1, " ", what,
        "; keep the file as evidence and compare it with a backup: this line and what follows "
        "cannot be trusted"));
  };
  std::string previous(kFirst);
  for (size_t start = 0; start < text->size();) {
    const size_t end = text->find('\n', start);
    if (end == std::string::npos) {
      return damaged("is unfinished (cut off, or left by a killed process)");
    }
    const absl::string_view line = absl::string_view(*text).substr(start, end - start);
    absl::string_view body;
    absl::string_view mac;
    if (!SplitLine(line, &body, &mac) || LineMac(previous, body) != mac) {
      return damaged("breaks the chain: it, or the line before, was changed, removed or put in");
    }
    nlohmann::json fields =
        nlohmann::json::parse(absl::StrCat(body, "}"), nullptr, /*allow_exceptions=*/false);
    if (!fields.is_object()) return damaged("is not a JSON object");
    previous = std::string(mac);
    records.push_back({std::move(fields), previous});
    start = end + 1;
  }
  return records;
}

}  // namespace unlearn
