#ifndef OFFSET_STORE_VERSION_FOLDER_H_
#define OFFSET_STORE_VERSION_FOLDER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/store/seal.h"
#include "unlearn/v1/manifest.pb.h"

namespace unlearn {

// The files of one version, in a folder of their own: manifest.textproto, manifest.mac, and one
// sealed file per adapter; nothing else. These functions know nothing of other versions. They are
// thread-safe; DATA_LOSS names the file and what to do.

// Seals and writes one adapter, fsynced, and describes it for the manifest.
absl::StatusOr<v1::AdapterFile> WriteAdapterFile(const std::string& folder, const SealingKey& key,
                                                 absl::string_view request_id, int64_t rank,
                                                 absl::string_view bytes);

// Writes the manifest and its MAC, fsynced.
absl::Status WriteManifestFiles(const std::string& folder, const SealingKey& key,
                                const v1::Manifest& manifest);

// The manifest, authenticated, checked (CheckManifest), and with just its files beside it.
// NOT_FOUND when there is no such folder.
absl::StatusOr<v1::Manifest> ReadManifestFiles(const std::string& folder, const SealingKey& key,
                                               uint64_t version);

// The adapter's plain bytes; the sealed ones are compared with the manifest's SHA-256 first.
absl::StatusOr<std::string> ReadAdapterFile(const std::string& folder, const SealingKey& key,
                                            const v1::AdapterFile& adapter);

// Everything: the manifest, then each adapter.
absl::Status VerifyVersionFolder(const std::string& folder, const SealingKey& key,
                                 uint64_t version);

}  // namespace unlearn

#endif  // OFFSET_STORE_VERSION_FOLDER_H_
