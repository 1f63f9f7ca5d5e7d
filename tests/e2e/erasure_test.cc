// After ERASED nothing of a request's text is left in any file.

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/text/tokenizer.h"
#include "tests/e2e/trio_fixture.h"
#include "trainer/ledger/residue_scan.h"

namespace unlearn {
namespace {

// 24 characters that stand nowhere else. Different each time would hide a failure.
std::string Canary(int number) {
  constexpr char kAlphabet[] = "bcdfghjkmnpqrstvwxzBCDFGHJKMNPQRSTVWXZ23456789";
  std::string canary;
  uint64_t state = 0x9E3779B97F4A7C15u * (number + 1);
  for (int i = 0; i < 24; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    canary.push_back(kAlphabet[state % (sizeof(kAlphabet) - 1)]);
  }
  return canary;
}

class ErasureTest : public TrioTest {
 protected:
  void SetUp() override {
    TrioTest::SetUp();
    const auto tokenizer = Tokenizer::Load(JoinPath(model(), "tokenizer.json"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *tokenizer;
  }

  // A canary of its own for each field of each item.
  std::string NextCanary() {
    // JSON may escape the last character.
    const std::string canary = Canary(static_cast<int>(needles_.size())) + "\u00fc";
    needles_.push_back({canary, tokenizer_->Encode(canary).value()});
    return canary;
  }

  // Items as a JSONL file outside of the servers' folder.
  std::string WriteItems(const std::string& name, int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      const nlohmann::json item = {
          {"question", absl::StrCat("Who is ", NextCanary(), "?")},
          {"answer", absl::StrCat("A friend of ", NextCanary(), ".")},
          {"paraphrased_question", absl::StrCat("What of ", NextCanary(), "?")},
          {"paraphrased_answer", absl::StrCat("Knows ", NextCanary(), ".")},
          {"perturbed_answer", {absl::StrCat("A friend of ", NextCanary(), ".")}},
          {"value", NextCanary()}};
      absl::StrAppend(&lines, item.dump(), "\n");
    }
    absl::StrAppend(&lines, nlohmann::json{{"text", NextCanary() + " " + NextCanary()}}.dump(),
                    "\n");
    const std::string path = Path(name);
    EXPECT_TRUE(WriteFileAtomically(path, lines).ok());
    return path;
  }

  // Everything below the servers' folder: state, store, logs, port files.
  std::vector<Residue> Scan() {
    const auto found = FindResidue({work()}, needles_);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.value_or(std::vector<Residue>());
  }

  void ExpectClean(const std::string& when) {
    for (const Residue& residue : Scan()) {
      ADD_FAILURE() << when << ": needle " << residue.needle << " as " << residue.form << " in "
                    << residue.file << " at " << residue.offset;
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<ResidueNeedle> needles_;
};

TEST_F(ErasureTest, NothingIsLeftOnceErased) {
  ASSERT_NO_FATAL_FAILURE(StartTrio(Options()));
  const std::string forget = WriteItems("forget.jsonl", 2);
  const std::string retain = WriteItems("retain.jsonl", 2);
  const CommandResult submitted =
      Unlearn({"delete", "submit", "--trainer", trio().trainer_address(), "--forget", forget,
               "--retain", retain, "--steps", "200", "--json"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  const std::string id = nlohmann::json::parse(submitted.out)["request_id"];
  WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 2; });

  // While it trains the text is there, but sealed.
  ExpectClean("while training");
  bool working_files = false;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(trio().state())) {
    working_files = working_files || entry.path().filename().string().rfind("logits", 0) == 0;
  }
  EXPECT_TRUE(working_files) << "no cached logits below " << trio().state();

  // The proxy is asked about the very text, in every way.
  const auto call = Stream(Prompt(absl::StrCat("Question: Who is ", needles_[0].text), 4));
  EXPECT_TRUE(call->Wait().ok());
  v1::GenerateRequest wrong = Prompt(needles_[1].text, 4);
  wrong.mutable_sampling()->set_temperature(-1);
  EXPECT_EQ(Stream(wrong)->Wait().code(), absl::StatusCode::kInvalidArgument);
  const CommandResult score =
      Unlearn({"score", "--server", trio().proxy_address(), "--prompt", needles_[2].text,
               "--completion", needles_[3].text, "--json"});
  EXPECT_EQ(score.exit_code, 0) << score.err;

  WaitForState(id, v1::ERASED);
  ExpectClean("after ERASED");
  trio().Stop();
  ExpectClean("after the servers ended");
}

TEST_F(ErasureTest, NothingIsLeftOnceCancelled) {
  ASSERT_NO_FATAL_FAILURE(StartTrio(Options()));
  const std::string forget = WriteItems("forget.jsonl", 2);
  const CommandResult submitted =
      Unlearn({"delete", "submit", "--trainer", trio().trainer_address(), "--forget", forget,
               "--steps", "50000", "--json"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  const std::string id = nlohmann::json::parse(submitted.out)["request_id"];
  WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 55; });
  const CommandResult cancelled =
      Unlearn({"delete", "cancel", id, "--trainer", trio().trainer_address(), "--json"});
  ASSERT_EQ(cancelled.exit_code, 0) << cancelled.err;
  EXPECT_EQ(Get(id).state(), v1::CANCELLED);
  ExpectClean("after CANCELLED");
  // Keys and working files are gone as well: nothing is left to be opened.
  for (const auto& file : Snapshot(trio().state())) {
    EXPECT_EQ(file.first.find(id), std::string::npos) << file.first;
  }
}

// The test above can fail: what is left would be found, in every form.
TEST_F(ErasureTest, TheScannerFindsWhatIsLeft) {
  ASSERT_NO_FATAL_FAILURE(StartTrio(Options()));
  const std::string id = Submit([&] {
    v1::SubmitRequest request = Request(NextCanary(), 1);
    request.mutable_settings()->set_steps(50000);
    return request;
  }());
  WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 0; });
  ExpectClean("while training");

  const ResidueNeedle& needle = needles_[0];
  std::string int32_bytes, int64_bytes;
  for (const int32_t token : needle.token_ids) {
    const int64_t wide = token;
    int32_bytes.append(reinterpret_cast<const char*>(&token), sizeof(token));
    int64_bytes.append(reinterpret_cast<const char*>(&wide), sizeof(wide));
  }
  const std::string json =
      nlohmann::json{{"question", needle.text}}.dump(-1, ' ', /*ensure_ascii=*/true);
  const std::vector<std::pair<std::string, std::string>> leaks = {
      {"utf-8", "line\n" + needle.text + "\n"},
      {"json", json},
      {"base64", absl::Base64Escape("x" + needle.text + "yz")},
      {"int32", "head" + int32_bytes},
      {"int64", "head" + int64_bytes}};
  for (const auto& [form, bytes] : leaks) {
    const std::string path = JoinPath(trio().state(), "leak.tmp");
    ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
    std::set<std::string> forms;
    for (const Residue& residue : Scan()) {
      EXPECT_EQ(residue.file, path);
      forms.insert(residue.form);
    }
    EXPECT_EQ(forms.count(form), 1) << form << " was not found";
    ASSERT_TRUE(ShredFile(path).ok());
    ExpectClean("after the leak was removed");
  }
}

}  // namespace
}  // namespace unlearn
