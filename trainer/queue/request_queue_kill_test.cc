#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/queue/request_queue.h"

namespace unlearn {
namespace {

// Submits until it is killed, reporting each id after Submit has returned it.
[[noreturn]] void SubmitForever(const std::string& folder, int report) {
  auto queue = RequestQueue::Open(folder);
  if (!queue.ok()) _exit(2);
  for (int i = 0;; ++i) {
    v1::SubmitRequest submit;
    v1::Item* item = submit.add_forget();
    item->set_question(absl::StrCat("Question ", i, "?"));
    item->set_answer(std::string((i * 7919) % 60000, 'x'));
    const auto id = (*queue)->Submit(submit);
    if (!id.ok()) _exit(3);
    const std::string line = *id + "\n";
    if (write(report, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(4);
  }
}

TEST(RequestQueueKillTest, WhatWasAnsweredIsThereAndWholeAfterwards) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/kill_", getpid());
  std::mt19937 random(20240817);
  std::set<std::string> answered;
  for (int round = 0; round < 25; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      SubmitForever(folder, ends[1]);
    }
    close(ends[1]);
    // After a few answers and a random moment more: inside the key, the log or the commit.
    const int wanted = 1 + static_cast<int>(random() % 6);
    std::string reported;
    char buffer[4096];
    while (std::count(reported.begin(), reported.end(), '\n') < wanted) {
      const ssize_t got = read(ends[0], buffer, sizeof(buffer));
      ASSERT_GT(got, 0) << "the child ended by itself";
      reported.append(buffer, got);
    }
    absl::SleepFor(absl::Microseconds(random() % 8000));  // when the kill falls, not a wait
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit status " << WEXITSTATUS(status);
    ssize_t got = 0;
    while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) reported.append(buffer, got);
    close(ends[0]);
    for (const auto& id : absl::StrSplit(reported, '\n', absl::SkipEmpty())) {
      answered.insert(std::string(id));
    }

    auto queue = RequestQueue::Open(folder);
    ASSERT_TRUE(queue.ok()) << queue.status();
    std::set<std::string> there;
    const auto all = (*queue)->List();
    ASSERT_TRUE(all.ok()) << all.status();
    for (const QueuedRequest& queued : *all) {
      const std::string& id = queued.request.request_id();
      there.insert(id);
      // Also the one whose answer did not come back is either whole or not there at all.
      const auto payload = (*queue)->Payload(id);
      ASSERT_TRUE(payload.ok()) << payload.status();
      EXPECT_EQ(payload->forget_size(), 1);
    }
    for (const std::string& id : answered) EXPECT_EQ(there.count(id), 1) << id;
    EXPECT_EQ(ListFolder(JoinPath(folder, "keys"))->size(), there.size() + 1);
  }
  EXPECT_GE(answered.size(), 25);
  ASSERT_TRUE(ShredFolder(folder).ok());
}

}  // namespace
}  // namespace unlearn
