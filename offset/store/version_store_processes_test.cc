// Several processes on one store, some of them killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/store/store_test_util.h"

namespace unlearn {
namespace {

class ProcessesTest : public StoreTest {
 protected:
  // Runs `work` in a child; its result is the exit code.
  static pid_t Start(const std::function<int()>& work) {
    const pid_t child = fork();
    if (child == 0) _exit(work());
    EXPECT_GT(child, 0);
    return child;
  }
  static int Wait(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
};

TEST_F(ProcessesTest, PublishersGetDifferentVersions) {
  constexpr int kProcesses = 4;
  constexpr int kEach = 8;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(Start([&] {
      const auto store = VersionStore::Open(folder(), Key());
      if (!store.ok()) return 1;
      for (int i = 0; i < kEach; ++i) {
        const std::string request_id = absl::StrCat("r", p, "-", i);
        const auto version = (*store)->Publish(Draft(), Adapters({request_id}));
        if (!version.ok()) return 2;
        // What it was told is what stands there.
        if ((*store)->FindVersionOfRequest(request_id).value() != *version) return 3;
      }
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(Wait(child), 0);
  const std::vector<uint64_t> versions = *store_->ListVersions();
  ASSERT_EQ(versions.size(), 1 + kProcesses * kEach);
  EXPECT_EQ(versions.back(), kProcesses * kEach);  // no number was left out
  std::set<std::string> requests;
  for (const uint64_t version : versions) {
    ASSERT_TRUE(store_->Verify(version).ok());
    if (version > 0) requests.insert(store_->ReadManifest(version)->request_ids(0));
  }
  EXPECT_EQ(requests.size(), kProcesses * kEach);
  EXPECT_TRUE(store_->VerifyAudit().ok()) << store_->VerifyAudit();
}

TEST_F(ProcessesTest, WhatAKilledPublisherLeavesIsComplete) {
  std::mt19937 random(1);
  int leftovers = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = Start([&] {
      const auto store = OpenStore();
      std::vector<NewAdapter> adapters = Adapters({"a", "b", "c"});
      for (NewAdapter& adapter : adapters) adapter.bytes.resize(200000, 'x');
      while (true) {
        const auto version = store->Publish(Draft(), adapters);
        if (!version.ok() || !store->Activate(*version, {}, "child").ok()) return 1;
      }
    });
    ASSERT_GT(child, 0);  // kill(-1) would hit every process
    absl::SleepFor(absl::Microseconds(2000 + random() % 30000));
    kill(child, SIGKILL);
    ASSERT_EQ(Wait(child), -SIGKILL);
    // A reader, before anybody cleaned up.
    const auto reader = OpenStore();
    const std::vector<uint64_t> versions = *reader->ListVersions();
    for (size_t i = 0; i < versions.size(); ++i) EXPECT_EQ(versions[i], i);
    for (size_t i = versions.size() > 3 ? versions.size() - 3 : 0; i < versions.size(); ++i) {
      const absl::Status status = reader->Verify(versions[i]);
      ASSERT_TRUE(status.ok()) << status;
    }
    const auto active = reader->ActiveVersion();
    if (active.ok()) {
      EXPECT_LE(*active, versions.back());
    } else {
      EXPECT_EQ(active.status().code(), absl::StatusCode::kNotFound) << active.status();
    }
    const std::vector<std::string> names = *ListFolder(Path("versions"));
    for (const std::string& name : names) {
      leftovers += absl::StartsWith(name, ".tmp-");
    }
  }
  EXPECT_GT(leftovers, 0);  // the kills did hit publications
  const uint64_t last = Publish({"a", "b", "c"});
  ASSERT_TRUE(store_->Activate(last, {}, "test").ok());
  const std::vector<std::string> names = *ListFolder(Path("versions"));
  for (const std::string& name : names) {
    EXPECT_FALSE(absl::StartsWith(name, ".")) << name;
  }
  const std::vector<uint64_t> versions = *store_->ListVersions();
  for (const uint64_t version : versions) EXPECT_TRUE(store_->Verify(version).ok());
  EXPECT_TRUE(store_->VerifyAudit().ok()) << store_->VerifyAudit();
}

TEST_F(ProcessesTest, ReadersSeeOldOrNewNeverBetween) {
  Publish({"a"});
  Publish({"a"});
  ASSERT_TRUE(store_->Activate(1, {}, "test").ok());
  const pid_t writer = Start([&] {
    const auto store = OpenStore();
    for (int i = 0; i < 60; ++i) {
      if (!store->Activate(1 + i % 2, {}, "child").ok()) return 1;
    }
    return 0;
  });
  std::set<uint64_t> seen;
  std::string token = store_->ActiveToken();
  int changes = 0;
  int status = 0;
  while (waitpid(writer, &status, WNOHANG) == 0) {
    const auto active = store_->ActiveVersion();
    EXPECT_TRUE(active.ok()) << active.status();
    if (!active.ok()) break;
    seen.insert(*active);
    const std::string now = store_->ActiveToken();
    changes += now != token;
    token = now;
  }
  EXPECT_EQ(status, 0);
  EXPECT_EQ(seen, (std::set<uint64_t>{1, 2}));
  EXPECT_GT(changes, 1);
}

}  // namespace
}  // namespace unlearn
