#ifndef OFFSET_STORE_AUDIT_LOG_H_
#define OFFSET_STORE_AUDIT_LOG_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/store/seal.h"

namespace unlearn {

struct AuditRecord {
  nlohmann::json fields;  // an object, without "mac"
  std::string mac;        // of this record and, through it, of all before
};

// Append-only file of JSON objects, one a line, each with an HMAC over the one before: a line that
// is changed, removed from the middle, or put in breaks the chain. Lines missing at the end cannot
// be seen here; whoever keeps the MAC of a record elsewhere (the store's ACTIVE file does) can.
//
// Callers hold the store's lock: exclusive to append, shared to read. Thread-safe under that.
class AuditLog {
 public:
  // `key` must outlive the object.
  AuditLog(std::string path, const SealingKey* key);

  // Adds "time" and "sequence" to `fields`, writes the line and fsyncs it; returns its MAC. Bytes
  // of a line that a killed process left unfinished at the end are removed first, and a "repair"
  // record says so. After an error the file is as it was. RESOURCE_EXHAUSTED when the disk is full.
  absl::StatusOr<std::string> Append(nlohmann::json fields);

  // All records, checked. A missing file is an empty log. DATA_LOSS names the first bad line.
  absl::StatusOr<std::vector<AuditRecord>> Read() const;

 private:
  std::string LineMac(absl::string_view previous_mac, absl::string_view body) const;
  absl::StatusOr<std::string> Write(int fd, const std::string& previous_mac, uint64_t sequence,
                                    nlohmann::json fields, size_t end) const;

  const std::string path_;
  const SealingKey* const key_;
};

}  // namespace unlearn

#endif  // OFFSET_STORE_AUDIT_LOG_H_
