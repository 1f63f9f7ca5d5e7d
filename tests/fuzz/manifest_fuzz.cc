// A version's folder as it lies on disk. The bytes are a manifest: once with a MAC beside it that
// is not of this key (nothing of it may be believed), once with the right one, as a newer release
// may have written it; then with the adapters that it names.

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "offset/base/file.h"
#include "offset/store/version_folder.h"
#include "offset/store/version_rules.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_key.h"
#include "tests/fuzz/property.h"

namespace unlearn {
namespace {

// Versions 0 and 3 are tried: what is in the text decides which it can be.
absl::StatusOr<v1::Manifest> Read(const std::string& folder, uint64_t* version) {
  *version = 3;
  auto manifest = ReadManifestFiles(folder, FuzzKey(), *version);
  if (manifest.ok()) return manifest;
  *version = 0;
  return ReadManifestFiles(folder, FuzzKey(), *version);
}

void CheckRead(const std::string& folder) {
  uint64_t version;
  const auto manifest = Read(folder, &version);
  if (!manifest.ok()) {
    Property(absl::IsDataLoss(manifest.status()) || absl::IsFailedPrecondition(manifest.status()),
             manifest.status().ToString());
    return;
  }
  Property(CheckManifest(*manifest).ok(), "a manifest that was read is a good one");
  Property(manifest->version() == version, "it is the version that was asked for");
  Property(RequestsLost(*manifest, *manifest).empty(), "a version loses nothing against itself");
  for (const v1::AdapterFile& adapter : manifest->adapters()) {
    const auto bytes = ReadAdapterFile(folder, FuzzKey(), adapter);
    if (!bytes.ok()) Property(absl::IsDataLoss(bytes.status()), bytes.status().ToString());
  }
  const absl::Status verified = VerifyVersionFolder(folder, FuzzKey(), version);
  if (!verified.ok()) Property(absl::IsDataLoss(verified), verified.ToString());

  // Written again, it is the same.
  const std::string copy = JoinPath(FuzzFolder(), "copy");
  mkdir(copy.c_str(), 0700);
  const absl::Status written = WriteManifestFiles(copy, FuzzKey(), *manifest);
  Property(written.ok(), written.ToString());
  for (const v1::AdapterFile& adapter : manifest->adapters()) {
    WriteQuickly(JoinPath(copy, adapter.file()), "");
  }
  const auto again = ReadManifestFiles(copy, FuzzKey(), version);
  Property(again.ok(), again.status().ToString());
  Property(again->SerializeAsString().size() == manifest->SerializeAsString().size(),
           "a manifest that was written is read as it was");
  RemoveFolder(copy);
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unlearn;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string folder = JoinPath(FuzzFolder(), "version");
  RemoveFolder(folder);
  mkdir(folder.c_str(), 0700);
  WriteQuickly(JoinPath(folder, "manifest.textproto"), text);

  // The bytes as the MAC's file too: no text is the MAC of itself.
  for (const std::string& mac : {text, std::string(64, '0') + "\n"}) {
    WriteQuickly(JoinPath(folder, "manifest.mac"), mac);
    uint64_t version;
    Property(absl::IsDataLoss(Read(folder, &version).status()), "a wrong MAC is DATA_LOSS");
  }

  WriteQuickly(JoinPath(folder, "manifest.mac"), FuzzKey().Mac("manifest\n" + text) + "\n");
  CheckRead(folder);
  // The adapters that seeds name.
  for (const char* request : {"r1", "r2"}) {
    WriteQuickly(JoinPath(folder, AdapterFileName(request)), "no sealed bytes");
  }
  CheckRead(folder);
  return 0;
}
