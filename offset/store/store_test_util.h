#ifndef OFFSET_STORE_STORE_TEST_UTIL_H_
#define OFFSET_STORE_STORE_TEST_UTIL_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "offset/base/file.h"
#include "offset/store/version_store.h"

namespace unlearn {

// A store with version 0 in a temporary folder, and its key in a file beside it.
class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/store.XXXXXX";
    ASSERT_NE(mkdtemp(&name[0]), nullptr);
    root_ = name;
    ASSERT_TRUE(SealingKey::Generate().Save(JoinPath(root_, "key")).ok());
    auto store = VersionStore::Create(folder(), Key());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    const absl::Status made = store_->InitVersionZero(Draft());
    ASSERT_TRUE(made.ok()) << made;
  }
  void TearDown() override { EXPECT_TRUE(ShredFolder(root_).ok()); }

  std::string folder() const { return JoinPath(root_, "store"); }
  std::string Path(const std::string& name) const { return JoinPath(folder(), name); }
  SealingKey Key() const { return *SealingKey::Load(JoinPath(root_, "key")); }
  std::unique_ptr<VersionStore> OpenStore() const { return *VersionStore::Open(folder(), Key()); }

  static v1::Manifest Draft() {
    v1::Manifest draft;
    draft.set_model_id("some/model");
    draft.set_vocab_size(100);
    draft.set_alpha(0.75);
    draft.set_combiner("delta");
    v1::ProbeFingerprint* probe = draft.mutable_model_fingerprint()->add_probes();
    probe->add_prompt_token_ids(5);
    probe->add_top_ids(7);
    probe->add_top_logprobs(-0.123456789f);
    return draft;
  }
  // One adapter for each request, with bytes that tell them apart.
  static std::vector<NewAdapter> Adapters(const std::vector<std::string>& requests) {
    std::vector<NewAdapter> adapters;
    for (const std::string& request_id : requests) {
      adapters.push_back({request_id, 4, "weights of " + request_id});
    }
    return adapters;
  }
  uint64_t Publish(const std::vector<std::string>& requests) {
    const auto version = store_->Publish(Draft(), Adapters(requests));
    EXPECT_TRUE(version.ok()) << version.status();
    return version.value_or(0);
  }

  std::string root_;
  std::unique_ptr<VersionStore> store_;
};

inline std::string Contents(const std::string& path) { return ReadFile(path).value_or("(none)"); }

}  // namespace unlearn

#endif  // OFFSET_STORE_STORE_TEST_UTIL_H_
