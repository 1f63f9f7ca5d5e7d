#include "trainer/queue/change_notifier.h"

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(ChangeNotifierTest, ListenersHearChangesAndProgressUntilRemoved) {
  ChangeNotifier notifier;
  std::vector<std::string> heard;
  const int64_t handle =
      notifier.AddListener([&heard](const std::string& id) { heard.push_back(id); });
  notifier.Changed("a");
  notifier.Progressed("b");
  notifier.RemoveListener(handle);
  notifier.Changed("c");
  EXPECT_EQ(heard, (std::vector<std::string>{"a", "b"}));
}

TEST(ChangeNotifierTest, ProgressWakesNobody) {
  ChangeNotifier notifier;
  const int64_t seen = notifier.ChangeCount();
  notifier.Progressed("a");
  EXPECT_FALSE(notifier.WaitForChange(seen, absl::InfinitePast()));
  notifier.Changed("a");
  EXPECT_TRUE(notifier.WaitForChange(seen, absl::InfinitePast()));
}

TEST(ChangeNotifierTest, AWaiterWakesWhenAnotherThreadChangesOrWakes) {
  ChangeNotifier notifier;
  for (const bool change : {true, false}) {
    const int64_t seen = notifier.ChangeCount();
    std::thread other([&] { change ? notifier.Changed("a") : notifier.WakeAll(); });
    EXPECT_TRUE(notifier.WaitForChange(seen, absl::Now() + absl::Minutes(5)));
    other.join();
  }
}

TEST(ChangeNotifierTest, AListenerMayAddAndRemoveListeners) {
  ChangeNotifier notifier;
  int64_t handle = 0;
  int calls = 0;
  handle = notifier.AddListener([&](const std::string&) {
    ++calls;
    notifier.RemoveListener(handle);
  });
  notifier.Changed("a");
  notifier.Changed("a");
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace unlearn
