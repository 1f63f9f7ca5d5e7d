// The other files of a store, and of the key. The first byte says what the rest is: ACTIVE, STORE,
// the audit log as bytes, the audit log as lines whose MACs are right, sealed bytes, or a key file.

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/store/audit_log.h"
#include "offset/store/version_store.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_key.h"
#include "tests/fuzz/property.h"

namespace unlearn {
namespace {

SealingKey Key() {
  auto key = SealingKey::Load(JoinPath(FuzzFolder(), "key"));
  Property(key.ok(), key.status().ToString());
  return *std::move(key);
}

// A store with version 0, active; made once and mended after each input.
struct Store {
  std::string folder;
  std::string store_file, active_file, audit_file;  // their contents
};

const Store& TheStore() {
  static const Store* const store = [] {
    FuzzKey();
    auto* made = new Store;
    made->folder = JoinPath(FuzzFolder(), "store");
    auto opened = VersionStore::Create(made->folder, Key());
    Property(opened.ok(), opened.status().ToString());
    v1::Manifest draft;
    draft.set_alpha(1);
    draft.set_combiner("delta");
    Property((*opened)->InitVersionZero(draft).ok(), "version 0 can be made");
    Property((*opened)->Activate(0, {}, "fuzz").ok(), "version 0 can be activated");
    made->store_file = *ReadFile(JoinPath(made->folder, "STORE"));
    made->active_file = *ReadFile(JoinPath(made->folder, "ACTIVE"));
    made->audit_file = *ReadFile(JoinPath(made->folder, "audit.log"));
    return made;
  }();
  return *store;
}

bool IsDamage(const absl::Status& status) { return absl::IsDataLoss(status); }

void CheckActive(const std::string& bytes) {
  const Store& store = TheStore();
  WriteQuickly(JoinPath(store.folder, "ACTIVE"), bytes);
  const auto opened = VersionStore::Open(store.folder, Key());
  Property(opened.ok(), opened.status().ToString());
  const auto version = (*opened)->ActiveVersion();
  if (bytes == store.active_file) {
    Property(version.ok() && *version == 0, "the right file is believed");
  } else {
    Property(IsDamage(version.status()), "no other file is believed");
    Property(IsDamage((*opened)->VerifyAudit()), "and the audit finds it");
  }
  WriteQuickly(JoinPath(store.folder, "ACTIVE"), store.active_file);
}

void CheckStoreFile(const std::string& bytes) {
  const Store& store = TheStore();
  WriteQuickly(JoinPath(store.folder, "STORE"), bytes);
  const auto opened = VersionStore::Open(store.folder, Key());
  if (bytes == store.store_file) {
    Property(opened.ok(), "the right file is believed");
  } else {
    Property(IsDamage(opened.status()) || absl::IsPermissionDenied(opened.status()),
             opened.status().ToString());
  }
  WriteQuickly(JoinPath(store.folder, "STORE"), store.store_file);
}

// The store with another audit log: whatever is in it, the store goes on.
void CheckAuditOfStore(const std::string& bytes) {
  const Store& store = TheStore();
  WriteQuickly(JoinPath(store.folder, "audit.log"), bytes);
  const auto opened = VersionStore::Open(store.folder, Key());
  Property(opened.ok(), opened.status().ToString());
  const absl::Status verified = (*opened)->VerifyAudit();
  if (!verified.ok()) Property(IsDamage(verified), verified.ToString());
  // With ACTIVE unreadable, the log is asked what is enforced.
  WriteQuickly(JoinPath(store.folder, "ACTIVE"), "damaged");
  const absl::Status unreadable = (*opened)->VerifyAudit();
  Property(IsDamage(unreadable), unreadable.ToString());
  WriteQuickly(JoinPath(store.folder, "ACTIVE"), store.active_file);
  WriteQuickly(JoinPath(store.folder, "audit.log"), store.audit_file);
}

void CheckAuditLog(const std::string& bytes) {
  const std::string path = JoinPath(FuzzFolder(), "audit.log");
  WriteQuickly(path, bytes);
  AuditLog log(path, &FuzzKey());
  const auto before = log.Read();
  if (!before.ok()) Property(IsDamage(before.status()), before.status().ToString());
  const auto appended = log.Append({{"event", "test"}});
  Property(appended.ok(), "a damaged log takes new lines");
  const auto after = log.Read();
  if (before.ok()) {
    Property(after.ok() && after->size() == before->size() + 1, "a sound log stays sound");
    Property(after->back().mac == *appended, "the new line is the last one");
  }
}

// Each line of `text` as the body of an audit line, chained as the log does it.
std::string Chained(const std::string& text) {
  Input lines(reinterpret_cast<const unsigned char*>(text.data()), text.size());
  std::string log;
  std::string previous = "first";
  while (!lines.empty()) {
    const std::string body = lines.Until('\n');
    previous = FuzzKey().Mac(absl::StrCat("audit line\n", previous, "\n", body));
    absl::StrAppend(&log, body, ",\"mac\":\"", previous, "\"}\n");
  }
  return log;
}

void CheckSealed(const std::string& bytes) {
  const auto opened = FuzzKey().Open(bytes, "context", "fuzz");
  Property(IsDamage(opened.status()), "bytes that were not sealed do not open");
  const std::string sealed = FuzzKey().Seal(bytes, "context");
  const auto again = FuzzKey().Open(sealed, "context", "fuzz");
  Property(again.ok() && *again == bytes, "what was sealed opens");
  Property(IsDamage(FuzzKey().Open(sealed, bytes + "context ", "fuzz").status()),
           "and not under another context");
}

void CheckKeyFile(const std::string& bytes) {
  const std::string path = JoinPath(FuzzFolder(), "other_key");
  WriteQuickly(path, bytes);
  const auto key = SealingKey::Load(path);
  if (key.ok()) {
    Property(bytes.size() == 64 || bytes.size() == 65, "a key file has one size");
    Property(key->Mac("a").size() == 64, "a key that was read works");
  } else {
    Property(absl::IsInvalidArgument(key.status()), key.status().ToString());
  }
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace unlearn;
  Input input(data, size);
  const unsigned char kind = input.Byte();
  const std::string bytes = input.Rest();
  switch (kind % 6) {
    case 0:
      CheckActive(bytes);
      break;
    case 1:
      CheckStoreFile(bytes);
      break;
    case 2:
      CheckAuditLog(bytes);
      break;
    case 3:
      CheckAuditLog(Chained(bytes));
      CheckAuditOfStore(Chained(bytes));
      break;
    case 4:
      CheckSealed(bytes);
      break;
    case 5:
      CheckKeyFile(bytes);
      break;
  }
  return 0;
}
