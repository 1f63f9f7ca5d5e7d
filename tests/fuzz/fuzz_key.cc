#include "tests/fuzz/fuzz_key.h"

#include <string>
#include <utility>

#include "offset/base/file.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/property.h"

namespace unlearn {

const SealingKey& FuzzKey() {
  static const SealingKey* const key = [] {
    const std::string path = JoinPath(FuzzFolder(), "key");
    WriteQuickly(path, std::string(64, '5') + "\n");
    auto loaded = SealingKey::Load(path);
    Property(loaded.ok(), loaded.status().ToString());
    return new SealingKey(*std::move(loaded));
  }();
  return *key;
}

}  // namespace unlearn
