#include "offset/store/version_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/store/store_test_util.h"

namespace unlearn {
namespace {

using VersionStoreTest = StoreTest;

TEST_F(VersionStoreTest, VersionZeroIsTheEmptyStack) {
  const auto manifest = store_->ReadManifest(0);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->version(), 0);
  EXPECT_EQ(manifest->adapters_size(), 0);
  EXPECT_EQ(manifest->alpha(), 0.75);
  EXPECT_EQ(manifest->model_fingerprint().probes(0).top_logprobs(0), -0.123456789f);
  EXPECT_GT(manifest->created_unix_seconds(), 1600000000);
  EXPECT_TRUE(store_->Verify(0).ok());
  EXPECT_EQ(store_->InitVersionZero(Draft()).code(), absl::StatusCode::kAlreadyExists);
  v1::Manifest draft = Draft();
  draft.add_request_ids("a");
  EXPECT_EQ(store_->InitVersionZero(draft).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(VersionStoreTest, PublishedIsReadByAnotherReader) {
  v1::Manifest draft = Draft();
  draft.set_seed(1234567890123456789u);
  draft.set_alpha(0.1);
  (*draft.mutable_scores())["forget_quality"] = 1.0 / 3;
  draft.set_objective("npo");
  draft.set_created_unix_seconds(1700000000);
  std::vector<NewAdapter> adapters = Adapters({"a", "b"});
  adapters[1].bytes = std::string(3 << 20, '\0') + "x";
  adapters[1].rank = 16;
  const auto version = store_->Publish(draft, adapters);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 1);

  const auto reader = OpenStore();
  const auto manifest = reader->ReadManifest(1);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->seed(), 1234567890123456789u);
  EXPECT_EQ(manifest->alpha(), 0.1);
  EXPECT_EQ(manifest->scores().at("forget_quality"), 1.0 / 3);
  EXPECT_EQ(manifest->created_unix_seconds(), 1700000000);
  ASSERT_EQ(manifest->adapters_size(), 2);
  EXPECT_EQ(manifest->adapters(1).rank(), 16);
  ASSERT_EQ(manifest->request_ids_size(), 2);
  EXPECT_EQ(manifest->request_ids(0), "a");
  EXPECT_EQ(*reader->ReadAdapter(*manifest, 0), "weights of a");
  EXPECT_EQ(*reader->ReadAdapter(*manifest, 1), adapters[1].bytes);
  for (const int index : {-1, 2}) {
    EXPECT_EQ(reader->ReadAdapter(*manifest, index).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(reader->Verify(1).ok());
  EXPECT_EQ(*reader->ListVersions(), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(reader->ReadManifest(2).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(reader->Verify(2).code(), absl::StatusCode::kNotFound);
  // Nothing of an adapter lies open.
  EXPECT_FALSE(absl::StrContains(Contents(Path("versions/000001/adapter-a.sealed")), "weights"));
}

TEST_F(VersionStoreTest, BadDraftsPublishNothing) {
  v1::Manifest bad = Draft();
  bad.set_alpha(std::nan(""));
  EXPECT_EQ(store_->Publish(bad, Adapters({"a"})).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const auto& requests :
       std::vector<std::vector<std::string>>{{"../../x"}, {"a", "a"}, {""}}) {
    EXPECT_EQ(store_->Publish(Draft(), Adapters(requests)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(store_->ListVersions()->size(), 1);
  EXPECT_EQ(ListFolder(Path("versions"))->size(), 1);
  EXPECT_EQ(store_->ReadAudit()->size(), 1);
}

TEST_F(VersionStoreTest, NeedsVersionZero) {
  const auto store = VersionStore::Create(JoinPath(root_, "other"), Key());
  ASSERT_TRUE(store.ok());
  EXPECT_EQ((*store)->Publish(Draft(), Adapters({"a"})).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(VersionStoreTest, FindsTheVersionOfARequest) {
  Publish({"a"});
  Publish({"a", "b"});
  Publish({"a", "b", "c"});
  Publish({"a", "b"});  // c was revoked
  EXPECT_EQ(*store_->FindVersionOfRequest("a"), 1);
  EXPECT_EQ(*store_->FindVersionOfRequest("b"), 2);
  EXPECT_EQ(*store_->FindVersionOfRequest("c"), 3);
  EXPECT_EQ(*store_->FindVersionOfRequest("d"), std::nullopt);
  // With an unreadable version "not published" would be a guess; what is found is not.
  ASSERT_EQ(unlink(Path("versions/000001/manifest.mac").c_str()), 0);
  EXPECT_EQ(*store_->FindVersionOfRequest("b"), 2);
  EXPECT_EQ(store_->FindVersionOfRequest("d").status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(VersionStoreTest, OrdersVersionsByNumber) {
  Publish({"a"});
  // What a long life leads to: six digits do not suffice.
  ASSERT_EQ(mkdir(Path("versions/999999").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(Path("versions/1000000").c_str(), 0700), 0);
  for (const char* other : {"versions/1", "versions/0000002", "versions/-00001", "versions/old"}) {
    ASSERT_EQ(mkdir(Path(other).c_str(), 0700), 0);
  }
  EXPECT_EQ(*store_->ListVersions(), (std::vector<uint64_t>{0, 1, 999999, 1000000}));
  EXPECT_EQ(Publish({"a", "b"}), 1000001);
  EXPECT_TRUE(store_->Verify(1000001).ok());
}

TEST_F(VersionStoreTest, ModesAreTight) {
  Publish({"a"});
  const mode_t before = umask(0);
  Publish({"a", "b"});
  ASSERT_TRUE(store_->Activate(2, {}, "test").ok());
  const auto other = VersionStore::Create(JoinPath(root_, "other/deep"), Key());
  umask(before);
  ASSERT_TRUE(other.ok()) << other.status();
  for (const std::string file :
       {"STORE", "LOCK", "ACTIVE", "audit.log", "versions/000002/manifest.textproto",
        "versions/000002/manifest.mac", "versions/000002/adapter-a.sealed",
        "versions/000002/adapter-b.sealed"}) {
    struct stat info;
    ASSERT_EQ(stat(Path(file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 07777, 0600) << file;
  }
  for (const std::string& path : {Path("versions/000002"), JoinPath(root_, "other/deep"),
                                  JoinPath(root_, "other/deep/versions")}) {
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 07777, 0700) << path;
  }
}

TEST_F(VersionStoreTest, OpenTellsWhatIsWrong) {
  EXPECT_EQ(VersionStore::Open(JoinPath(root_, "none"), Key()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(VersionStore::Open(folder(), SealingKey::Generate()).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(VersionStore::Create(folder(), SealingKey::Generate()).status().code(),
            absl::StatusCode::kPermissionDenied);
  const auto again = VersionStore::Create(folder(), Key());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->ListVersions()->size(), 1);
  ASSERT_EQ(unlink(Path("STORE").c_str()), 0);
  EXPECT_EQ(VersionStore::Open(folder(), Key()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(VersionStore::Create(folder(), Key()).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(VersionStoreTest, LeftoversAreIgnoredThenShredded) {
  const std::string left = Path("versions/.tmp-000001-99999");
  ASSERT_TRUE(MakeFolders(left).ok());
  ASSERT_TRUE(WriteFileAtomically(left + "/adapter-a.sealed", "half").ok());
  ASSERT_TRUE(WriteFileAtomically(Path("ACTIVE.tmp"), "version").ok());
  EXPECT_EQ(*store_->ListVersions(), (std::vector<uint64_t>{0}));
  EXPECT_EQ(*store_->FindVersionOfRequest("a"), std::nullopt);
  EXPECT_TRUE(FileExists(left));  // a reader changes nothing
  EXPECT_EQ(Publish({"a"}), 1);
  EXPECT_FALSE(FileExists(left));
  EXPECT_FALSE(FileExists(Path("ACTIVE.tmp")));
  EXPECT_TRUE(store_->Verify(1).ok());
}

// A limit on the size of files stands for a full disk: writes stop in the middle in the same way.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  void (*old_handler_)(int);
};

TEST_F(VersionStoreTest, FullDiskPublishesNothing) {
  std::vector<NewAdapter> adapters = Adapters({"a", "b"});
  adapters[1].bytes = std::string(100000, 'b');
  const auto state = [&] {
    return absl::StrCat(ListFolder(Path("versions"))->size(), Contents(Path("audit.log")));
  };
  const std::string before = state();
  // The limits stop the small adapter, the manifest (larger than that), the large adapter.
  for (const int limit : {10, 100, 50000}) {
    absl::Status status;
    {
      const FileSizeLimit full(limit);
      status = store_->Publish(Draft(), adapters).status();
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(state(), before) << limit;
  }
  const auto version = store_->Publish(Draft(), adapters);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 1);
  EXPECT_TRUE(store_->VerifyAudit().ok());
}

TEST_F(VersionStoreTest, FullDiskForTheAuditLogPublishesNothing) {
  // The log is long, every other file is short: only the log's write fails, and in the middle.
  while (Contents(Path("audit.log")).size() < 3000) Publish({"a"});
  const std::string before = Contents(Path("audit.log"));
  const size_t versions = ListFolder(Path("versions"))->size();
  {
    const FileSizeLimit full(before.size() + 20);
    EXPECT_EQ(store_->Publish(Draft(), Adapters({"a"})).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(store_->Activate(0, {}, "test").code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(Contents(Path("audit.log")), before);
  EXPECT_EQ(ListFolder(Path("versions"))->size(), versions);
  EXPECT_EQ(store_->ActiveVersion().status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(store_->VerifyAudit().ok());
}

}  // namespace
}  // namespace unlearn
