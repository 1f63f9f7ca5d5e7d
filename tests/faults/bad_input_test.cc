// Bad requests: INVALID_ARGUMENT or an exit code that says which field, file and line, and nothing
// is changed.

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

constexpr char kSecret[] = "Zwentibold of Lotharingia";
constexpr char kAdmin[] = "the-admin-token";

class BadInputTest : public TrioTest {
 protected:
  void Start(const std::vector<std::string>& trainer_flags = {}) {
    TrioOptions options = Options();
    const std::string tokens = Path("tokens");
    ASSERT_TRUE(
        WriteFileAtomically(tokens, absl::StrCat("admin ", kAdmin, "\nuser someone\n")).ok());
    options.proxy_flags.push_back("--token_file=" + tokens);
    const std::string trainer_token = Path("trainer.token");
    ASSERT_TRUE(WriteFileAtomically(trainer_token, "someone\n").ok());
    options.trainer_flags.push_back("--proxy_token_file=" + trainer_token);
    options.trainer_flags.insert(options.trainer_flags.end(), trainer_flags.begin(),
                                 trainer_flags.end());
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  }

  CommandResult SubmitFile(const std::string& contents, std::vector<std::string> more = {}) {
    file_ = Path("items.jsonl");
    EXPECT_TRUE(WriteFileAtomically(file_, contents).ok());
    std::vector<std::string> command = {"delete",   "submit", "--trainer", trio().trainer_address(),
                                        "--forget", file_};
    command.insert(command.end(), more.begin(), more.end());
    return Unlearn(command);
  }

  std::string file_;
};

TEST_F(BadInputTest, GenerateAndScoreRefuseWhatTheyCannotDo) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto changed = [](const std::function<void(v1::GenerateRequest&)>& change) {
    v1::GenerateRequest request = Prompt("hello", 4);
    change(request);
    return request;
  };
  struct Case {
    std::string word;  // of the error
    v1::GenerateRequest request;
  };
  const std::vector<Case> cases = {
      {"alpha", changed([&](auto& request) { request.set_alpha(nan); })},
      {"alpha", changed([&](auto& request) { request.set_alpha(inf); })},
      {"alpha", changed([&](auto& request) { request.set_alpha(-1); })},
      {"temperature",
       changed([&](auto& request) { request.mutable_sampling()->set_temperature(nan); })},
      {"temperature",
       changed([&](auto& request) { request.mutable_sampling()->set_temperature(-1); })},
      {"top_p", changed([&](auto& request) { request.mutable_sampling()->set_top_p(1.5); })},
      {"top_p", changed([&](auto& request) { request.mutable_sampling()->set_top_p(nan); })},
      {"min_p", changed([&](auto& request) { request.mutable_sampling()->set_min_p(2); })},
      {"top_k", changed([&](auto& request) { request.mutable_sampling()->set_top_k(-1); })},
      {"max_tokens",
       changed([&](auto& request) { request.mutable_sampling()->set_max_tokens(-5); })},
      {"stop", changed([&](auto& request) { request.mutable_sampling()->add_stop(""); })},
      {"prompt", changed([&](auto& request) { request.clear_prompt(); })},
      {"prompt", changed([&](auto& request) { request.set_text(""); })},
      {"token_ids", changed([&](auto& request) { request.mutable_token_ids()->add_ids(300); })},
      {"token_ids", changed([&](auto& request) { request.mutable_token_ids()->add_ids(-1); })},
      {"context", changed([&](auto& request) { request.set_text(std::string(1024, 'x')); })},
      {"context", changed([&](auto& request) { request.set_text(std::string(100000, 'x')); })}};
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.word);
    const auto call = Stream(bad.request, kAdmin);
    const absl::Status status = call->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), bad.word)) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "xxxx")) << status;
    EXPECT_TRUE(call->answer().tokens.empty());
  }
  const std::string admin_file = Path("admin.token");
  ASSERT_TRUE(WriteFileAtomically(admin_file, absl::StrCat(kAdmin, "\n")).ok());
  const CommandResult long_score =
      Unlearn({"score", "--server", trio().proxy_address(), "--token_file", admin_file, "--prompt",
               std::string(600, 'x'), "--completion", std::string(600, 'y')});
  EXPECT_EQ(long_score.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(long_score.err, "context")) << long_score.err;

  // The longest prompt that fits gives exactly one token.
  const auto longest = Stream(Prompt(std::string(1023, 'x'), 100), kAdmin);
  EXPECT_TRUE(longest->Wait().ok()) << longest->Wait();
  EXPECT_EQ(longest->answer().tokens.size(), 1);
  EXPECT_EQ(longest->answer().finish_reason, v1::FINISH_REASON_LENGTH);
}

TEST_F(BadInputTest, DeleteSubmitNamesFileAndLineAndNeverTheText) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto store = Snapshot(trio().store());
  const auto state = Snapshot(trio().state());
  const std::string good =
      absl::StrCat("{\"question\": \"Who is ", kSecret, "?\", \"answer\": \"a king\"}\n");
  struct Case {
    std::string contents;
    int line;
    std::string word;
  };
  const std::vector<Case> cases = {
      {good + good + "{\"question\": \"Who is " + kSecret + "\n", 3, "JSON"},
      {good + kSecret + "\n", 2, "JSON"},
      {good + "[\"" + kSecret + "\"]\n", 2, "object"},
      {absl::StrCat("{\"question\": [\"", kSecret, "\"]}\n"), 1, "question"},
      {absl::StrCat("\n\n{\"answer\": \"", kSecret, "\"}\n"), 3, "question"},
      {absl::StrCat("{\"question\": \"\\ud800", kSecret, "\"}\n"), 1, ""},
      {absl::StrCat("{\"question\": \"\xff", kSecret, "\"}\n"), 1, ""},
      {"", 0, "no items"},
      {"\n \n", 0, "no items"}};
  for (const Case& bad : cases) {
    const CommandResult result = SubmitFile(bad.contents);
    SCOPED_TRACE(result.err);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(absl::StrContains(result.err,
                                  bad.line == 0 ? file_ : absl::StrCat(file_, ":", bad.line, ":")));
    EXPECT_TRUE(absl::StrContains(result.err, bad.word)) << bad.word;
    EXPECT_FALSE(absl::StrContains(result.err, "Zwentibold"));
    EXPECT_FALSE(absl::StrContains(result.err, "Lotharingia"));
  }
  const CommandResult missing = Unlearn({"delete", "submit", "--trainer", trio().trainer_address(),
                                         "--forget", Path("nowhere.jsonl")});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(missing.err, Path("nowhere.jsonl"))) << missing.err;
  EXPECT_EQ(Unlearn({"delete", "submit", "--trainer", trio().trainer_address()}).exit_code, 2);
  EXPECT_EQ(Unlearn({"delete", "submit", "--no_such_flag"}).exit_code, 2);
  EXPECT_EQ(Unlearn({"no_such_command"}).exit_code, 2);
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"--objective", "wishful"},
                                             {"--steps", "-1"},
                                             {"--learning_rate", "nan"},
                                             {"--name", std::string(1000, 'n')}}) {
    const CommandResult result = SubmitFile(good, flags);
    EXPECT_TRUE(result.exit_code == 1 || result.exit_code == 2) << result.exit_code;
    const std::string field = flags[0].substr(2);
    EXPECT_TRUE(absl::StrContains(result.err, field)) << result.err;
    EXPECT_FALSE(absl::StrContains(result.err, "Zwentibold"));
  }
  const CommandResult unreachable =
      Unlearn({"delete", "list", "--trainer", "127.0.0.1:1", "--timeout", "2"});
  EXPECT_EQ(unreachable.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(unreachable.err, "127.0.0.1:1")) << unreachable.err;

  EXPECT_EQ(Snapshot(trio().store()), store);
  EXPECT_EQ(Snapshot(trio().state()), state);
  const std::string log = ReadFile(JoinPath(work(), "trainer.log")).value();
  EXPECT_FALSE(absl::StrContains(log, "Zwentibold")) << log;

  const CommandResult accepted = SubmitFile(good, {"--wait", "--json"});
  EXPECT_EQ(accepted.exit_code, 0) << accepted.err;
  EXPECT_TRUE(absl::StrContains(accepted.out, "\"ERASED\"")) << accepted.out;
}

TEST_F(BadInputTest, SubmitOverTheWireNamesTheItem) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto state = Snapshot(trio().state());
  v1::SubmitRequest empty;
  v1::SubmitRequest second_is_bad = Request(kSecret, 2);
  second_is_bad.mutable_forget(1)->clear_question();
  v1::SubmitRequest retain_is_bad = Request(kSecret, 2);
  retain_is_bad.mutable_retain(1)->set_text("beside a question");
  struct Case {
    v1::SubmitRequest request;
    std::string word;
  };
  for (const Case& bad : std::vector<Case>{
           {empty, "forget"}, {second_is_bad, "forget[1]"}, {retain_is_bad, "retain[1]"}}) {
    const absl::Status status = TrySubmit(bad.request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), bad.word)) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "Zwentibold")) << status;
  }
  EXPECT_EQ(Snapshot(trio().state()), state);

  // Too long for the context: accepted, since only training can tell, then FAILED and kept.
  v1::SubmitRequest too_long = Request(kSecret, 1);
  too_long.mutable_forget(0)->set_question(std::string(2000, 'q') + kSecret);
  const std::string id = Submit(too_long);
  const v1::DeletionRequest failed = WaitForState(id, v1::FAILED);
  EXPECT_TRUE(absl::StrContains(failed.message(), "forget item 0")) << failed.message();
  EXPECT_FALSE(absl::StrContains(failed.message(), "Zwentibold"));
  EXPECT_FALSE(absl::StrContains(failed.message(), "qqqq"));
  EXPECT_EQ(OpenStore()->ListVersions()->size(), 1);
  WaitForState(Submit(Request("Chur")), v1::ERASED);
}

TEST_F(BadInputTest, WhatTheGateRefusesIsNotPublished) {
  ASSERT_NO_FATAL_FAILURE(Start({"--min_keep_agreement=2"}));
  const auto store = Snapshot(trio().store());
  const std::string retain = Path("retain.jsonl");
  ASSERT_TRUE(
      WriteFileAtomically(retain, "{\"question\": \"How much?\", \"answer\": \"3\"}\n").ok());
  const CommandResult refused = SubmitFile(
      absl::StrCat("{\"question\": \"Who is ", kSecret, "?\", \"answer\": \"a king\"}\n"),
      {"--retain", retain, "--wait", "--json"});
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_TRUE(absl::StrContains(refused.out, "\"NEEDS_OPERATOR\"")) << refused.out;
  EXPECT_FALSE(absl::StrContains(refused.out + refused.err, "Zwentibold"));
  EXPECT_EQ(Snapshot(trio().store()), store);
  const auto call = Stream(Prompt("hello", 8), kAdmin);
  EXPECT_TRUE(call->Wait().ok());
  for (const auto& token : call->answer().tokens) EXPECT_EQ(token.offset_version(), 0);
}

}  // namespace
}  // namespace unlearn
