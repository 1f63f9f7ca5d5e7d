#ifndef OFFSET_BASE_LOG_H_
#define OFFSET_BASE_LOG_H_

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace unlearn {

enum class Severity { kInfo, kWarning, kError };

// One line to stderr: "2026-01-31T12:00:00.000Z I message". Thread-safe. Callers never pass
// prompts, completions or texts of deletion requests (rule 4 of the design).
void LogLine(Severity severity, absl::string_view message);

template <typename... Args>
void LogInfo(const Args&... args) {
  LogLine(Severity::kInfo, absl::StrCat(args...));
}
template <typename... Args>
void LogWarning(const Args&... args) {
  LogLine(Severity::kWarning, absl::StrCat(args...));
}
template <typename... Args>
void LogError(const Args&... args) {
  LogLine(Severity::kError, absl::StrCat(args...));
}

}  // namespace unlearn

#endif  // OFFSET_BASE_LOG_H_
