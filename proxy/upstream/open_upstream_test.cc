#include <gtest/gtest.h>

#include "proxy/upstream/testing/tiny_model.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {
namespace {

TEST(OpenUpstreamTest, LocalFolder) {
  const std::string folder = testing::TempDir() + "/open_upstream";
  ASSERT_TRUE(WriteTinyModel(folder).ok());
  const auto upstream = OpenUpstream("local:" + folder, {});
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  EXPECT_EQ((*upstream)->info().kind, "local");
  const auto session = (*upstream)->NewSession().value();
  EXPECT_EQ(StepAndWait(*session, {0, {1, 2}})->logits.size(), 300);
}

TEST(OpenUpstreamTest, NativeAddress) {
  UpstreamOptions options;
  options.connect_timeout_seconds = 0.1;
  const absl::Status status =
      OpenUpstream("native:unix:/tmp/unlearn_no_such.sock", options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

TEST(OpenUpstreamTest, ServersOfOthers) {
  UpstreamOptions options;
  options.connect_timeout_seconds = 0.1;
  options.eos_token_ids = {1};
  // Port 1 answers nobody.
  for (const std::string spec : {"kserve:127.0.0.1:1/model", "openai:http://127.0.0.1:1"}) {
    const absl::Status status = OpenUpstream(spec, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << spec << ": " << status;
  }
  // These tell it themselves.
  EXPECT_EQ(OpenUpstream("native:127.0.0.1:1", options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(OpenUpstreamTest, UnknownKindsAreAnsweredWithTheKnownOnes) {
  for (const std::string spec :
       {"", "vllm:localhost:8000", "local", "native:", "local:", "kserve:", "openai"}) {
    const absl::Status status = OpenUpstream(spec, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << spec;
    EXPECT_NE(status.message().find("--upstream"), std::string::npos) << status;
  }
  const std::string message(OpenUpstream("vllm:x", {}).status().message());
  EXPECT_NE(message.find("local:DIR"), std::string::npos) << message;
  EXPECT_NE(message.find("native:HOST:PORT"), std::string::npos) << message;
  EXPECT_NE(message.find("kserve:HOST:PORT/MODEL"), std::string::npos) << message;
  EXPECT_NE(message.find("openai:URL"), std::string::npos) << message;
}

}  // namespace
}  // namespace unlearn
