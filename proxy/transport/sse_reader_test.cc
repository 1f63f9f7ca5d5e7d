#include "proxy/transport/sse_reader.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Events = std::vector<std::string>;

// What comes out of `pieces`, and whether all of it was complete.
struct Reading {
  Events events;
  absl::Status end;
};

Reading Read(const std::vector<absl::string_view>& pieces) {
  SseReader reader(1000);
  Reading reading;
  for (const absl::string_view piece : pieces) {
    const absl::Status status = reader.Append(piece, reading.events);
    EXPECT_TRUE(status.ok()) << status;
  }
  reading.end = reader.End();
  return reading;
}

Events EventsOf(absl::string_view stream) { return Read({stream}).events; }

TEST(SseReaderTest, GivesTheDataOfEachEvent) {
  EXPECT_THAT(EventsOf("data: {\"a\":1}\n\ndata: [DONE]\n\n"), ElementsAre("{\"a\":1}", "[DONE]"));
  EXPECT_THAT(EventsOf("data: one\ndata:two\ndata:  three\n\n"), ElementsAre("one\ntwo\n three"));
  EXPECT_THAT(EventsOf("data\n\ndata:\n\ndata\ndata\n\n"), ElementsAre("", "", "\n"));
  EXPECT_THAT(EventsOf("data: a:b\n\n"), ElementsAre("a:b"));
  EXPECT_THAT(EventsOf(""), IsEmpty());
}

TEST(SseReaderTest, TakesEveryLineEnd) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    EXPECT_THAT(EventsOf("data: a" + end + "data: b" + end + end + "data: c" + end + end),
                ElementsAre("a\nb", "c"));
  }
  EXPECT_THAT(EventsOf("data: a\r\n\rdata: b\n\r\ndata: c\r\n\n"), ElementsAre("a", "b", "c"));
}

TEST(SseReaderTest, SkipsCommentsAndOtherFields) {
  EXPECT_THAT(EventsOf(": ping\n\n:\nevent: x\nid: 7\nretry: 10\n\nevent: y\ndata: a\nid\n\n"),
              ElementsAre("a"));
  EXPECT_THAT(EventsOf("Data: a\ndatas: b\n data: c\ndat: d\ndat\n\n"), IsEmpty());
}

TEST(SseReaderTest, SkipsAByteOrderMarkAtTheStartOnly) {
  EXPECT_THAT(EventsOf("\xEF\xBB\xBF"
                       "data: a\n\n"),
              ElementsAre("a"));
  EXPECT_THAT(EventsOf("\xEF\xBB\xBF\xEF\xBB\xBF"
                       "data: a\n\ndata: b\n\n"),
              ElementsAre("b"));
  EXPECT_THAT(EventsOf("\xEF\xBB"
                       "data: a\n\ndata: b\n\n"),
              ElementsAre("b"));
  EXPECT_THAT(EventsOf("data: \xEF\xBB\xBF\n\n"), ElementsAre("\xEF\xBB\xBF"));
}

TEST(SseReaderTest, SaysWhetherTheEndIsMissing) {
  for (const char* whole : {"", "data: a\n\n", "data: a\r\r", ": half a comment", "event: x\n"}) {
    EXPECT_EQ(Read({whole}).end, absl::OkStatus()) << whole;
  }
  for (const char* half : {"d", "data", "data: a", "data: a\n", "data: a\r\n", "data: a\n\ndat"}) {
    EXPECT_EQ(Read({half}).end.code(), absl::StatusCode::kDataLoss) << half;
  }
}

// Every way to cut it into two and into three pieces.
TEST(SseReaderTest, CutsMakeNoDifference) {
  const std::string streams[] = {
      "\xEF\xBB\xBF"
      "data: {\"x\":\"\xC3\xA4\"}\n\n: ping\n\ndata: [DONE]\n\n",
      "\xEF\xBB"
      "data: a\n\ndata: b\n\n",
      "data: a\r\ndata: b\r\n\r\nid: 1\r\ndata\r\n\r\ndata: cut off\r\n",
      "data: a\rdata: b\r\rdata:\r\r:c\r\rdata: d\r\r",
      "data: a\r\n\rdata: b\n\r\n\ndata: c\r\r\n\ndata:d\n\r",
      "\n\r\n\r\r\ndata\ndata\n\nevent: x\n\ndata:  y\n\nda",
  };
  for (const absl::string_view stream : streams) {
    const Reading whole = Read({stream});
    for (size_t first = 0; first <= stream.size(); ++first) {
      for (size_t second = first; second <= stream.size(); ++second) {
        const Reading cut = Read(
            {stream.substr(0, first), stream.substr(first, second - first), stream.substr(second)});
        ASSERT_EQ(cut.events, whole.events) << stream << " cut at " << first << ", " << second;
        ASSERT_EQ(cut.end, whole.end) << stream << " cut at " << first << ", " << second;
      }
    }
    std::vector<absl::string_view> bytes;
    for (size_t i = 0; i < stream.size(); ++i) bytes.push_back(stream.substr(i, 1));
    EXPECT_EQ(Read(bytes).events, whole.events);
  }
}

TEST(SseReaderTest, BoundsTheSizeOfAnEvent) {
  const std::string fits = "data:" + std::string(95, 'x') + "\n\n";
  const std::string streams[] = {
      fits + "data:" + std::string(96, 'x'),                                    // one line
      fits + "data:" + std::string(90, 'x') + "\ndata:" + std::string(6, 'x'),  // two lines
      fits + ":" + std::string(100, 'x'),                                       // a comment
  };
  for (const std::string& stream : streams) {
    for (const size_t cut : {size_t{0}, stream.size() / 2, stream.size() - 1, stream.size()}) {
      SseReader reader(100);
      Events events;
      const absl::Status first = reader.Append(stream.substr(0, cut), events);
      const absl::Status second = reader.Append(stream.substr(cut), events);
      EXPECT_EQ(first.ok(), cut < stream.size()) << stream << " cut at " << cut << ": " << first;
      EXPECT_EQ(second.code(), absl::StatusCode::kResourceExhausted) << stream;
      EXPECT_NE(second.message().find("100 bytes"), std::string::npos) << second;
      EXPECT_THAT(events, ElementsAre(std::string(95, 'x')));
      EXPECT_EQ(reader.Append("\n\ndata: b\n\n", events), second);
      EXPECT_EQ(reader.End(), second);
      EXPECT_EQ(events.size(), 1);
    }
  }
  // Many events are no large event.
  SseReader reader(100);
  Events events;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(reader.Append(fits, events).ok());
  EXPECT_EQ(events.size(), 100);
}

}  // namespace
}  // namespace unlearn
