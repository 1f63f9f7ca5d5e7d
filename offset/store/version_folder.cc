#include "offset/store/version_folder.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/store/durable_file.h"
#include "offset/store/version_rules.h"

namespace unlearn {
namespace {

constexpr absl::string_view kManifest = "manifest.textproto";
constexpr absl::string_view kMac = "manifest.mac";
constexpr absl::string_view kRemedy =
    "; restore the version's folder from a backup, or activate another version";

std::string AdapterContext(absl::string_view request_id) {
  return absl::StrCat("adapter of request ", request_id);
}

std::string MacFileContents(const SealingKey& key, absl::string_view manifest_text) {
  return absl::StrCat(key.Mac(absl::StrCat("manifest\n", manifest_text)), "\n");
}

// A file of a version that is missing is damage, not a wrong question.
absl::StatusOr<std::string> ReadPart(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (absl::IsNotFound(bytes.status())) {
    return absl::DataLossError(absl::StrCat(path, " is missing", kRemedy));
  }
  return bytes;
}

// Where in a manifest the parser stopped; without it protobuf writes to stderr.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat("line ", line + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

absl::StatusOr<v1::AdapterFile> WriteAdapterFile(const std::string& folder, const SealingKey& key,
                                                 absl::string_view request_id, int64_t rank,
                                                 absl::string_view bytes) {
  v1::AdapterFile adapter;
  adapter.set_file(AdapterFileName(request_id));
  adapter.set_request_id(std::string(request_id));
  adapter.set_rank(rank);
  const std::string sealed = key.Seal(bytes, AdapterContext(request_id));
  adapter.set_sha256(Sha256Hex(sealed));
  RETURN_IF_ERROR(WriteNewFile(JoinPath(folder, adapter.file()), sealed));
  return adapter;
}

absl::Status WriteManifestFiles(const std::string& folder, const SealingKey& key,
                                const v1::Manifest& manifest) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(manifest, &text)) {
    return absl::InternalError("cannot print the manifest as text");
  }
  RETURN_IF_ERROR(WriteNewFile(JoinPath(folder, kManifest), text));
  return WriteNewFile(JoinPath(folder, kMac), MacFileContents(key, text));
}

absl::StatusOr<v1::Manifest> ReadManifestFiles(const std::string& folder, const SealingKey& key,
                                               uint64_t version) {
  if (!FileExists(folder)) {
    return absl::NotFoundError(
        absl::StrCat("there is no version ", version, " (", folder, "); see: unlearn offset list"));
  }
  const std::string path = JoinPath(folder, kManifest);
  ASSIGN_OR_RETURN(const std::string text, ReadPart(path));
  ASSIGN_OR_RETURN(const std::string mac, ReadPart(JoinPath(folder, kMac)));
  if (mac != MacFileContents(key, text)) {
    return absl::DataLossError(absl::StrCat(path, " does not agree with ", kMac,
                                            " beside it: one of them was changed", kRemedy));
  }
  v1::Manifest manifest;
  google::protobuf::TextFormat::Parser parser;
  FirstError errors;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFromString(text, &manifest)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is authentic but cannot be read (", errors.text(),
                     "): a newer release wrote it; use that release, or another version"));
  }
  if (manifest.version() != version) {
    return absl::DataLossError(absl::StrCat(path, " is the manifest of version ",
                                            manifest.version(), ", in the place of version ",
                                            version, kRemedy));
  }
  if (absl::Status status = CheckManifest(manifest); !status.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", status.message(), kRemedy));
  }
  std::set<std::string> expected = {std::string(kManifest), std::string(kMac)};
  for (const v1::AdapterFile& adapter : manifest.adapters()) expected.insert(adapter.file());
  ASSIGN_OR_RETURN(const std::vector<std::string> present, ListFolder(folder));
  for (const std::string& name : present) {
    if (expected.erase(name) == 0) {
      return absl::DataLossError(
          absl::StrCat(JoinPath(folder, name), " is not part of the version; remove that file"));
    }
  }
  if (!expected.empty()) {
    return absl::DataLossError(
        absl::StrCat(JoinPath(folder, *expected.begin()), " is missing", kRemedy));
  }
  return manifest;
}

absl::StatusOr<std::string> ReadAdapterFile(const std::string& folder, const SealingKey& key,
                                            const v1::AdapterFile& adapter) {
  // The name is formed anew: a manifest from elsewhere must not lead out of the folder.
  if (!IsValidRequestId(adapter.request_id())) {
    return absl::InvalidArgumentError("the adapter's request_id is not a request id");
  }
  const std::string path = JoinPath(folder, AdapterFileName(adapter.request_id()));
  ASSIGN_OR_RETURN(const std::string sealed, ReadPart(path));
  if (Sha256Hex(sealed) != adapter.sha256()) {
    return absl::DataLossError(absl::StrCat(path, " (", sealed.size(),
                                            " bytes) has not the SHA-256 that the manifest lists: "
                                            "it was changed",
                                            kRemedy));
  }
  return key.Open(sealed, AdapterContext(adapter.request_id()), path);
}

absl::Status VerifyVersionFolder(const std::string& folder, const SealingKey& key,
                                 uint64_t version) {
  ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifestFiles(folder, key, version));
  for (const v1::AdapterFile& adapter : manifest.adapters()) {
    RETURN_IF_ERROR(ReadAdapterFile(folder, key, adapter).status());
  }
  return absl::OkStatus();
}

}  // namespace unlearn
