#ifndef OFFSET_STORE_SEAL_H_
#define OFFSET_STORE_SEAL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// A 256-bit secret that seals files. Two keys are derived from it (HKDF-SHA-256): one encrypts
// (AES-256-GCM), one authenticates (HMAC-SHA-256). The bytes are wiped when the object dies.
class SealingKey {
 public:
  static SealingKey Generate();  // from the system's random source
  // The key file holds 64 hex digits and a newline. PERMISSION_DENIED when group or others may
  // read it; INVALID_ARGUMENT when it is malformed; both say what to do.
  static absl::StatusOr<SealingKey> Load(const std::string& path);
  // Writes the key file, mode 0600, fsynced. ALREADY_EXISTS rather than overwriting one.
  absl::Status Save(const std::string& path) const;

  SealingKey(SealingKey&& other) noexcept;
  SealingKey& operator=(SealingKey&& other) noexcept;
  SealingKey(const SealingKey&) = delete;
  SealingKey& operator=(const SealingKey&) = delete;
  ~SealingKey();

  // Nonce, ciphertext and tag. `context` (a file's role, say) is authenticated with it: sealed
  // bytes opened under another context are refused.
  std::string Seal(absl::string_view plaintext, absl::string_view context) const;
  // DATA_LOSS when the bytes were changed, truncated, or sealed with another key or context;
  // the message names `origin`.
  absl::StatusOr<std::string> Open(absl::string_view sealed, absl::string_view context,
                                   const std::string& origin) const;

  // Keyed HMAC, hex.
  std::string Mac(absl::string_view bytes) const;

 private:
  explicit SealingKey(std::string secret);
  std::string secret_;  // 32 bytes
};

}  // namespace unlearn

#endif  // OFFSET_STORE_SEAL_H_
