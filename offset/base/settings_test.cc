#include "offset/base/settings.h"

#include <stdlib.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "unlearn/v1/config.pb.h"

// Some of the flags that the fields of TrainerConfig belong to, of all types.
ABSL_FLAG(std::vector<std::string>, proxy, {}, "");
ABSL_FLAG(std::string, upstream, "built-in", "");
ABSL_FLAG(int32_t, steps, 10, "");
ABSL_FLAG(double, learning_rate, 0.5, "");
ABSL_FLAG(uint64_t, seed, 1, "");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30), "");
ABSL_FLAG(bool, allow_passthrough, false, "");  // ProxyConfig

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SettingsTest : public testing::Test {
 protected:
  ~SettingsTest() override {
    for (const std::string& name : set_) unsetenv(name.c_str());
  }
  void SetVariable(const std::string& name, const std::string& value) {
    ASSERT_EQ(setenv(name.c_str(), value.c_str(), 1), 0);
    set_.push_back(name);
  }
  // What main() does: the words of the command line, then the settings with this file's text.
  absl::Status Load(std::vector<std::string> words, const std::string& text) {
    words.insert(words.begin(), "program");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    absl::ParseCommandLine(argv.size(), argv.data());
    std::string file;
    if (!text.empty()) {
      file = path_;
      EXPECT_TRUE(WriteFileAtomically(file, text).ok());
    }
    return LoadSettings(v1::TrainerConfig(), file);
  }

  const std::string path_ = JoinPath(testing::TempDir(), "settings.textproto");

 private:
  absl::FlagSaver saver_;  // also forgets what was given on the command line
  std::vector<std::string> set_;
};

TEST_F(SettingsTest, PrecedenceInAllCombinations) {
  for (int given = 0; given < 8; ++given) {
    absl::FlagSaver saver;
    const bool flag = given & 4, environment = given & 2, file = given & 1;
    if (environment) setenv("UNLEARN_STEPS", "30", 1);
    const absl::Status status =
        Load(flag ? std::vector<std::string>{"--steps=40"} : std::vector<std::string>{},
             file ? "steps: 20" : "# nothing");
    unsetenv("UNLEARN_STEPS");
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(absl::GetFlag(FLAGS_steps), flag ? 40 : environment ? 30 : file ? 20 : 10) << given;
  }
}

TEST_F(SettingsTest, AFlagGivenWithItsDefaultStillWins) {
  SetVariable("UNLEARN_UPSTREAM", "from environment");
  ASSERT_TRUE(Load({"--upstream", "built-in", "-steps", "10"}, "steps: 20").ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_upstream), "built-in");
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 10);
}

TEST_F(SettingsTest, AValueThatLooksLikeAFlagIsNoFlag) {
  ASSERT_TRUE(Load({"--upstream", "--steps"}, "steps: 20").ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_upstream), "--steps");
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 20);
}

TEST_F(SettingsTest, NegatedBooleanCountsAsGiven) {
  SetVariable("UNLEARN_ALLOW_PASSTHROUGH", "true");
  ASSERT_TRUE(Load({"--noallow_passthrough"}, "").ok());
  EXPECT_FALSE(absl::GetFlag(FLAGS_allow_passthrough));
}

TEST_F(SettingsTest, AllTypesComeFromTheFile) {
  const absl::Status status = Load({}, R"(
    proxy: "127.0.0.1:1"
    proxy: "unix:/run/p"
    upstream: "native:host:1"   # a comment
    steps: 0
    learning_rate: 1e-4
    seed: 18446744073709551615
    drain_timeout: "1m30s"
  )");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(absl::GetFlag(FLAGS_proxy), ElementsAre("127.0.0.1:1", "unix:/run/p"));
  EXPECT_EQ(absl::GetFlag(FLAGS_upstream), "native:host:1");
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 0);  // set to zero, which is not the same as not set
  EXPECT_EQ(absl::GetFlag(FLAGS_learning_rate), 1e-4);
  EXPECT_EQ(absl::GetFlag(FLAGS_seed), 18446744073709551615u);
  EXPECT_EQ(absl::GetFlag(FLAGS_drain_timeout), absl::Seconds(90));
}

TEST_F(SettingsTest, ErrorsInTheFileNameThePlaceAndChangeNothing) {
  const struct {
    const char* text;
    const char* place;
    const char* says;
  } cases[] = {
      {"steps: 20\n  stepz: 5\n", "line 2, column 8", "stepz"},
      {"steps: 20\nupstream: \"a\n", "line 2", ""},
      {"steps: \"many\"\n", "line 1, column 8", ""},
      {"steps: 20 steps: 21\n", "line 1, column 16", "multiple times"},
      {"steps: 20\n\ndrain_timeout: \"soon\"\n", "line 3, column 1", "drain_timeout"},
      {"steps: 20\npair: \"dir\"\n", "line 2, column 1", "no flag --pair"},
      {"steps: 20\nproxy: \"a\"\nproxy: \"b,c\"\n", "line 3, column 1", "comma"},
      {"steps: 99999999999\n", "line 1, column 8", ""},
  };
  for (const auto& each : cases) {
    const absl::Status status = Load({}, each.text);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << each.text;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("--config"), HasSubstr(path_),
                                                     HasSubstr(each.place), HasSubstr(each.says)));
    EXPECT_EQ(absl::GetFlag(FLAGS_steps), 10) << each.text;
  }
}

TEST_F(SettingsTest, ABadFileValueIsAnErrorEvenWhereAFlagWins) {
  EXPECT_EQ(Load({"--drain_timeout=5s"}, "drain_timeout: \"soon\"").code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SettingsTest, ABadEnvironmentValueNamesTheVariableAndChangesNothing) {
  SetVariable("UNLEARN_LEARNING_RATE", "fast");
  const absl::Status status = Load({}, "steps: 20");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("UNLEARN_LEARNING_RATE"), HasSubstr("fast")));
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 10);
}

TEST_F(SettingsTest, TheEnvironmentCanNameTheFile) {
  const std::string other = JoinPath(testing::TempDir(), "other.textproto");
  ASSERT_TRUE(WriteFileAtomically(other, "steps: 21").ok());
  SetVariable("UNLEARN_CONFIG", other);
  ASSERT_TRUE(Load({}, "").ok());
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 21);
  ASSERT_TRUE(Load({}, "steps: 22").ok());  // --config wins
  EXPECT_EQ(absl::GetFlag(FLAGS_steps), 22);
}

TEST_F(SettingsTest, VariablesOfNoFlagAndAbseilsOwnDoNotMatter) {
  SetVariable("UNLEARN_WHATEVER", "x");
  SetVariable("UNLEARN_HELP", "true");
  SetVariable("UNLEARN_FLAGFILE", "/nowhere");
  EXPECT_EQ(Load({}, ""), absl::OkStatus());
}

TEST_F(SettingsTest, AMissingFileIsNotFound) {
  const absl::Status status = LoadSettings(v1::TrainerConfig(), "/nowhere/settings");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--config"));
}

TEST_F(SettingsTest, FieldsWithoutFlagsAreListed) {
  const absl::Status status = CheckSettingsHaveFlags(*v1::ModelServerConfig::descriptor());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("model"), HasSubstr("delay_ms")));
}

}  // namespace
}  // namespace unlearn
