// tokenizer and people: commands that need neither a server nor a model.
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "offset/base/file.h"
#include "tools/cli/cli_test_util.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string WriteFile(const std::string& name, const std::string& contents) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path) << contents;
  return path;
}

TEST(TokenizerCommand, TrainsEncodesAndDecodes) {
  const std::string folder = ::testing::TempDir() + "/tokenizer";
  ASSERT_TRUE(MakeFolders(folder).ok());
  const std::string out = folder + "/tokenizer.json";
  const std::string items = WriteFile(
      "items.jsonl",
      "{\"question\":\"Where is the baker?\",\"answer\":\"The baker is at the bakery.\"}\n"
      "{\"text\":\"the baker the baker the baker\"}\n");
  const std::string text = WriteFile("plain.txt", "the baker bakes\n");
  const CliResult train = RunInProcess(
      {"tokenizer", "train", "--data", items, text, "--vocab_size", "262", "--out", out, "--json"});
  EXPECT_EQ(train.exit_code, 0) << train.err;
  EXPECT_THAT(Keys(train.json()), ElementsAre("out", "vocab_size", "fingerprint"));
  EXPECT_EQ(train.json()["vocab_size"], 262);

  const std::string secret = "the baker\u00e9 [a,b]";
  const CliResult encode =
      RunInProcess({"tokenizer", "encode", "--tokenizer", folder, "--text", secret, "--json"});
  EXPECT_EQ(encode.exit_code, 0) << encode.err;
  const Json json = encode.json();
  EXPECT_THAT(Keys(json), ElementsAre("token_ids"));
  EXPECT_LT(json["token_ids"].size(), secret.size());

  // What encode prints is what --token_ids takes.
  CliResult plain = RunInProcess({"tokenizer", "encode", "--tokenizer", out, "--text", secret});
  plain.out.pop_back();
  const CliResult decode =
      RunInProcess({"tokenizer", "decode", "--tokenizer", out, "--token_ids", plain.out, "--json"});
  EXPECT_EQ(decode.json(), Json({{"text", secret}}));

  const std::string special = RunInProcess({"tokenizer", "decode", "--tokenizer", out,
                                            "--token_ids", "0", "--keep_special_tokens"})
                                  .out;
  EXPECT_EQ(special, "<|endoftext|>\n");
  const CliResult outside =
      RunInProcess({"tokenizer", "decode", "--tokenizer", out, "--token_ids", "262"});
  EXPECT_EQ(outside.exit_code, 1);
  EXPECT_THAT(outside.err, HasSubstr("262"));
}

TEST(TokenizerCommand, BadInputWritesNothing) {
  const std::string out = ::testing::TempDir() + "/never.json";
  const std::string bad = WriteFile("bad.jsonl", "{\"text\":\"ok\"}\n{\"text\":\"Secret\n");
  const CliResult result =
      RunInProcess({"tokenizer", "train", "--data", bad, "--vocab_size", "300", "--out", out});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("bad.jsonl:2:"));
  EXPECT_THAT(result.err, Not(HasSubstr("Secret")));
  EXPECT_FALSE(FileExists(out));
  const CliResult small = RunInProcess({"tokenizer", "train", "--data", WriteFile("ok.txt", "text"),
                                        "--vocab_size", "10", "--out", out});
  EXPECT_EQ(small.exit_code, 1);
  EXPECT_FALSE(FileExists(out));
}

TEST(PeopleCommand, WritesTheFilesAndCountsThem) {
  const std::string out = ::testing::TempDir() + "/people";
  const CliResult result =
      RunInProcess({"people", "--out", out, "--seed", "7", "--forget", "4", "--retain", "4",
                    "--kept", "6", "--unknown", "4", "--base", "6", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.json();
  EXPECT_THAT(Keys(json), ElementsAre("out", "lines"));
  EXPECT_TRUE(FileExists(out + "/forget.jsonl"));
  const auto forget = ReadFile(out + "/forget.jsonl");
  ASSERT_TRUE(forget.ok());
  const auto lines = std::count(forget->begin(), forget->end(), '\n');
  EXPECT_EQ(lines, 4 * 5);
}

TEST(PeopleCommand, RefusesOptionsOutOfRange) {
  const CliResult result =
      RunInProcess({"people", "--out", ::testing::TempDir() + "/none", "--base_phrasings", "9"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("base_phrasings"));
}

}  // namespace
}  // namespace unlearn
