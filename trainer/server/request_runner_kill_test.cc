#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/ledger/residue_scan.h"
#include "trainer/server/testing/trainer_fixture.h"

namespace unlearn {
namespace {

constexpr char kSecret[] = "Jane Canary lives at 17 Nowhere Lane";

// A trainer process that works until the request is erased.
pid_t StartTrainer(const std::string& folder, const std::string& id, int* ready) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t child = fork();
  if (child != 0) {
    close(ends[1]);
    *ready = ends[0];
    return child;
  }
  {
    TrainerFixture rig(folder);
    if (write(ends[1], "x", 1) != 1) _exit(2);
    rig.Start();
    rig.WaitFor(id, v1::ERASED);
  }
  _exit(0);
}

// Zero: it ended by itself. Otherwise the signal.
int WaitForEnd(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return 0;
}

TEST(RequestRunnerKillTest, WhateverIsKilledWheneverOneVersionComesOut) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/runner_kill_", getpid());
  std::mt19937 random(20240817);
  absl::Duration whole = absl::Milliseconds(30);  // measured below
  int kills = 0;
  std::vector<std::string> ids;
  for (int round = 0; round < 15; ++round) {
    std::string id;
    {
      TrainerFixture rig(folder);
      id = rig.Submit(kSecret);
    }
    ids.push_back(id);
    bool done = false;
    for (int tries = 0; !done && tries < 5; ++tries) {
      int ready = -1;
      const pid_t child = StartTrainer(folder, id, &ready);
      ASSERT_GT(child, 0);
      char byte;
      ASSERT_EQ(read(ready, &byte, 1), 1);
      close(ready);
      const absl::Time start = absl::Now();
      if (round == 0) {
        ASSERT_EQ(WaitForEnd(child), 0);
        whole = absl::Now() - start;
        done = true;
        continue;
      }
      // Anywhere between the first write and the last.
      absl::SleepFor(whole * std::uniform_real_distribution<>(0, 1)(random));
      kill(child, SIGKILL);
      done = WaitForEnd(child) == 0;
      if (!done) ++kills;
      // Aims at the work whatever its speed: earlier after a miss, later after a hit.
      whole *= done ? 0.6 : 1.15;
    }
    if (!done) {
      int ready = -1;
      const pid_t child = StartTrainer(folder, id, &ready);
      close(ready);
      ASSERT_EQ(WaitForEnd(child), 0);
    }
    TrainerFixture rig(folder);
    EXPECT_EQ(rig.Get(id).state(), v1::ERASED);
    EXPECT_EQ(rig.Get(id).offset_version(), round + 1);
    // One version for each request, and all of them in force.
    EXPECT_EQ(rig.store->ListVersions()->size(), round + 2);
    EXPECT_EQ(rig.EnforcedNow(), ids);
    EXPECT_EQ(*rig.store->FindVersionOfRequest(id), round + 1);
    EXPECT_TRUE(rig.store->VerifyAudit().ok());
    const auto residue = FindResidue({folder}, {{kSecret, {}}});
    ASSERT_TRUE(residue.ok());
    EXPECT_TRUE(residue->empty());
    EXPECT_EQ(*ListFolder(JoinPath(folder, "state/keys")), std::vector<std::string>{"queue.key"});
    EXPECT_TRUE(ListFolder(JoinPath(folder, "state/work"))->empty());
  }
  EXPECT_GE(kills, 5);
  ASSERT_TRUE(ShredFolder(folder).ok());
}

}  // namespace
}  // namespace unlearn
