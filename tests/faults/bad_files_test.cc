// Broken or mismatched models and offsets: refused with an error that names the file, and nothing
// is changed or served.

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/file.h"
#include "offset/store/version_store.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

class BadFilesTest : public TrioTest {
 protected:
  // A model folder whose weights are `change`d.
  std::string BrokenModel(const std::string& name, const TinyModelOptions& options,
                          const std::function<void(std::string&)>& change) {
    const std::string folder = Path(name);
    EXPECT_TRUE(WriteTinyModel(folder, options).ok());
    const std::string path = JoinPath(folder, "model.safetensors");
    std::string bytes = ReadFile(path).value();
    change(bytes);
    EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
    return folder;
  }

  struct Breakage {
    std::string name;
    std::function<void(std::string&)> change;
  };
  static std::vector<Breakage> Breakages() {
    return {{"truncated", [](std::string& bytes) { bytes.resize(bytes.size() / 2); }},
            {"empty", [](std::string& bytes) { bytes.clear(); }},
            {"no-header", [](std::string& bytes) { bytes[8] = '?'; }},
            {"huge-header", [](std::string& bytes) { bytes[6] = '\x7f'; }},
            {"renamed", [](std::string& bytes) {
               const size_t at = bytes.find("lm_head");
               bytes.replace(at, 7, "LM_HEAD");
             }}};
  }

  std::vector<std::string> ProxyCommand(const std::string& pair) const {
    return {programs().proxy,           "--upstream=local:" + model(),     "--pair=" + pair,
            "--store=" + Path("store"), "--store_key_file=" + Path("key"), "--validate_only"};
  }
  std::vector<std::string> TrainerCommand(const std::string& pair) const {
    return {
        programs().trainer,         "--upstream=local:" + model(),     "--pair=" + pair,
        "--store=" + Path("store"), "--store_key_file=" + Path("key"), "--state=" + Path("state"),
        "--validate_only"};
  }
  CommandResult Init(const std::string& model, const std::string& pair,
                     const std::string& alpha = "1") const {
    return Unlearn({"offset", "init", "--store", Path("store"), "--store_key_file", Path("key"),
                    "--upstream", "local:" + model, "--pair", pair, "--alpha", alpha});
  }

  // Refused on purpose (no crash), in words that hold all of these.
  static void ExpectRefused(const CommandResult& result, const std::vector<std::string>& words) {
    EXPECT_TRUE(result.exit_code == 1 || result.exit_code == 2)
        << result.exit_code << ": " << result.err;
    EXPECT_EQ(result.out, "");
    for (const std::string& word : words) {
      EXPECT_TRUE(absl::StrContains(result.err, word)) << word << " is not in: " << result.err;
    }
  }

  void ExpectNothingMade() const {
    EXPECT_FALSE(FileExists(Path("store")));
    EXPECT_FALSE(FileExists(Path("key")));
  }
};

TEST_F(BadFilesTest, BrokenWeightsOfM) {
  for (const Breakage& breakage : Breakages()) {
    SCOPED_TRACE(breakage.name);
    const std::string broken = BrokenModel(breakage.name, ModelOptions(), breakage.change);
    ExpectRefused(Run({programs().model_server, "--model=" + broken, "--listen=127.0.0.1:0"}),
                  {broken});
    ExpectRefused(Init(broken, pair()), {broken});
    ExpectNothingMade();
  }
}

TEST_F(BadFilesTest, BrokenWeightsOfThePair) {
  ASSERT_EQ(Init(model(), pair()).exit_code, 0);
  const auto before = Snapshot(Path("store"));
  for (const Breakage& breakage : Breakages()) {
    SCOPED_TRACE(breakage.name);
    const std::string broken = BrokenModel(breakage.name, PairOptions(), breakage.change);
    ExpectRefused(Run(ProxyCommand(broken)), {broken});
    ExpectRefused(Run(TrainerCommand(broken)), {broken});
  }
  // One weight of another value is another pair.
  const std::string other = BrokenModel(
      "other", PairOptions(), [](std::string& bytes) { bytes[bytes.size() - 3] ^= 0x10; });
  ExpectRefused(Run(ProxyCommand(other)), {"pair"});
  ExpectRefused(Run(TrainerCommand(other)), {"pair"});
  EXPECT_EQ(Snapshot(Path("store")), before);
  EXPECT_EQ(Run(ProxyCommand(pair())).exit_code, 0);
  EXPECT_EQ(Run(TrainerCommand(pair())).exit_code, 0);
}

TEST_F(BadFilesTest, AnotherTokenizerInThePair) {
  const std::string tokenizer_path = JoinPath(pair(), "tokenizer.json");
  const std::string good = ReadFile(tokenizer_path).value();
  // The same number of tokens; two of them have changed places.
  std::string swapped = good;
  const size_t a = swapped.find("\"a\":97");
  const size_t b = swapped.find("\"b\":98");
  ASSERT_NE(a, std::string::npos);
  ASSERT_NE(b, std::string::npos);
  swapped.replace(a, 6, "\"a\":98");
  swapped.replace(b, 6, "\"b\":97");
  ASSERT_TRUE(WriteFileAtomically(tokenizer_path, swapped).ok());
  ExpectRefused(Init(model(), pair()), {"--pair", "tokenizer"});
  ExpectNothingMade();

  ASSERT_TRUE(WriteFileAtomically(tokenizer_path, good).ok());
  ASSERT_EQ(Init(model(), pair()).exit_code, 0);
  const auto before = Snapshot(Path("store"));
  ASSERT_TRUE(WriteFileAtomically(tokenizer_path, swapped).ok());
  ExpectRefused(Run(ProxyCommand(pair())), {"--pair", "tokenizer"});
  ExpectRefused(Run(TrainerCommand(pair())), {"--pair", "tokenizer"});
  ASSERT_TRUE(WriteFileAtomically(tokenizer_path, "{\"model\": ").ok());
  ExpectRefused(Run(ProxyCommand(pair())), {tokenizer_path});
  EXPECT_EQ(Snapshot(Path("store")), before);
}

TEST_F(BadFilesTest, APairOfAnotherVocabulary) {
  TinyModelOptions options = PairOptions();
  options.vocab_size += 10;
  options.padded_rows = 10;  // M's tokenizer, but more rows than M has
  ASSERT_TRUE(WriteTinyModel(Path("wider"), options).ok());
  ExpectRefused(Init(model(), Path("wider")), {"--pair", "310", "300"});
  options.padded_rows = 0;  // more tokens
  ASSERT_TRUE(WriteTinyModel(Path("more"), options).ok());
  ExpectRefused(Init(model(), Path("more")), {"--pair", "tokenizer"});
  ExpectNothingMade();
  ASSERT_EQ(Init(model(), pair()).exit_code, 0);
  ExpectRefused(Run(ProxyCommand(Path("wider"))), {"--pair", "310", "300"});
  ExpectRefused(Run(ProxyCommand(Path("more"))), {"--pair", "tokenizer"});
}

TEST_F(BadFilesTest, AnAlphaThatIsNoStrength) {
  for (const char* alpha : {"nan", "inf", "-1", "much"}) {
    SCOPED_TRACE(alpha);
    ExpectRefused(Init(model(), pair(), alpha), {"alpha"});
    ExpectNothingMade();
  }
  ASSERT_EQ(Init(model(), pair()).exit_code, 0);
  for (const char* alpha : {"nan", "inf", "-1"}) {
    SCOPED_TRACE(alpha);
    std::vector<std::string> command = TrainerCommand(pair());
    command.push_back(absl::StrCat("--alpha=", alpha));
    ExpectRefused(Run(command), {"--alpha"});
  }
}

// M whose numbers are not finite: no token comes of it.
TEST_F(BadFilesTest, AnMThatGivesNaN) {
  const std::string broken = BrokenModel("nan", ModelOptions(), [](std::string& bytes) {
    const std::string nan("\x00\x00\xc0\x7f", 4);
    for (size_t i = bytes.size() - 400; i < bytes.size(); i += 4) bytes.replace(i, 4, nan);
  });
  ExpectRefused(Init(broken, pair()), {"not finite"});
  ExpectNothingMade();
}

class BadOffsetTest : public BadFilesTest {
 protected:
  void Start() {
    TrioOptions options = Options();
    options.proxy_flags.push_back("--store_poll=2s");
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
    id_ = Submit(Request("Bregenz"));
    WaitForState(id_, v1::ERASED);
  }

  // Changes one byte of the version's adapter; returns its path.
  std::string ChangeOneByte(uint64_t version) {
    const std::string path =
        absl::StrCat(trio().store(), "/versions/00000", version, "/adapter-", id_, ".sealed");
    std::string bytes = ReadFile(path).value();
    bytes[bytes.size() / 2] ^= 1;
    EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
    return path;
  }

  // Version 2: what version 1 is, again.
  uint64_t PublishAgain() {
    const auto store = OpenStore();
    const v1::Manifest manifest = store->ReadManifest(1).value();
    const auto version = store->Publish(
        manifest, {{id_, manifest.adapters(0).rank(), store->ReadAdapter(manifest, 0).value()}});
    EXPECT_TRUE(version.ok()) << version.status();
    return version.value_or(0);
  }

  static size_t Count(const std::string& text, const std::string& word) {
    size_t count = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
      ++count;
    }
    return count;
  }

  TestServer FreshProxy() {
    return StartServer("fresh", {programs().proxy, "--upstream=native:" + trio().model_address(),
                                 "--pair=" + pair(), "--store=" + trio().store(),
                                 "--store_key_file=" + trio().store_key_file(), "--threads=1"});
  }

  std::string id_;
};

TEST_F(BadOffsetTest, AChangedByteIsNotServedByAFreshProxy) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string prompt = "hello";
  const auto good = Stream(Prompt(prompt, 20));
  ASSERT_TRUE(good->Wait().ok());
  const std::string path = ChangeOneByte(1);

  TestServer fresh = FreshProxy();
  ASSERT_FALSE(fresh.address.empty());
  const v1::OffsetStatus status = OffsetStatusOf(fresh.address);
  EXPECT_FALSE(status.serving());
  EXPECT_TRUE(absl::StrContains(status.problem(), path)) << status.problem();
  const auto refused = StreamTo(fresh.address, Prompt(prompt, 20));
  const absl::Status refusal = refused->Wait();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(refusal.message(), path)) << refusal;
  EXPECT_TRUE(refused->answer().tokens.empty());
  EXPECT_EQ(refused->answer().text, "");
  ExpectRefused(Unlearn({"generate", "--server", fresh.address, "--prompt", prompt, "--json"}),
                {path});
  const CommandResult verified = Unlearn(
      {"offset", "verify", "--store", trio().store(), "--store_key_file", trio().store_key_file()});
  EXPECT_EQ(verified.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(verified.out, path)) << verified.out;
  // It keeps asking the store: repaired, it serves. It said what is wrong once, not at each look.
  EXPECT_EQ(Count(ReadFile(fresh.log).value(), path), 1);
  ChangeOneByte(1);
  EXPECT_TRUE(Eventually([&] { return OffsetStatusOf(fresh.address).serving(); }));
  const auto again = StreamTo(fresh.address, Prompt(prompt, 20));
  EXPECT_TRUE(again->Wait().ok());
  EXPECT_EQ(IdsOf(again->answer().tokens), IdsOf(good->answer().tokens));
  // The one that had it loaded never cared.
  const auto kept = Stream(Prompt(prompt, 20));
  EXPECT_TRUE(kept->Wait().ok());
  EXPECT_EQ(IdsOf(kept->answer().tokens), IdsOf(good->answer().tokens));
}

TEST_F(BadOffsetTest, ARunningProxyKeepsTheOldVersion) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const uint64_t version = PublishAgain();
  ASSERT_EQ(version, 2);
  const std::string path = ChangeOneByte(2);
  const auto before = Snapshot(trio().store());
  ExpectRefused(Unlearn({"offset", "activate", "2", "--store", trio().store(), "--store_key_file",
                         trio().store_key_file()}),
                {path});
  EXPECT_EQ(Snapshot(trio().store()), before);
  ChangeOneByte(2);

  // Damaged between its activation and the proxy's next look.
  ASSERT_TRUE(OpenStore()->Activate(2, {}, "test").ok());
  ChangeOneByte(2);
  ASSERT_TRUE(Eventually([&] { return !OffsetStatus().problem().empty(); }));
  const v1::OffsetStatus status = OffsetStatus();
  EXPECT_TRUE(status.serving());
  EXPECT_EQ(status.active_version(), 1);
  EXPECT_TRUE(absl::StrContains(status.problem(), path)) << status.problem();
  for (int i = 0; i < 3; ++i) {
    const auto call = Stream(Prompt("hello", 20));
    EXPECT_TRUE(call->Wait().ok()) << call->Wait();
    ASSERT_EQ(call->answer().tokens.size(), 20);
    for (const auto& token : call->answer().tokens) EXPECT_EQ(token.offset_version(), 1);
  }
  const std::string log = ReadFile(JoinPath(work(), "proxy.log")).value();
  EXPECT_EQ(Count(log, path), 1) << log;
}

}  // namespace
}  // namespace unlearn
