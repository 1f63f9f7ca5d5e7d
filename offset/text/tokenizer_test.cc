#include "offset/text/tokenizer.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/text/golden_files.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

// Four tokens, a merge and two added tokens; bytes other than a, b and space have no id.
Json SmallDocument() {
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"added_tokens",
           {{{"id", 4}, {"content", "<s>"}, {"special", true}},
            {{"id", 5}, {"content", "\u4E2D"}, {"special", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"\u0120", 3}}},
            {"merges", {"a b"}}}}};
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadChanged(
    const std::function<void(Json*)>& change) {
  Json document = SmallDocument();
  change(&document);
  return Tokenizer::FromJson(document.dump(), "small.json");
}

std::shared_ptr<const Tokenizer> LoadSmall() {
  auto tokenizer = LoadChanged([](Json*) {});
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

TEST(TokenizerTest, Basics) {
  const auto tokenizer = LoadSmall();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 6);
  EXPECT_EQ(*tokenizer->Encode("ab a<s>\u4E2Dba"), (Ids{2, 3, 0, 4, 5, 1, 0}));
  EXPECT_EQ(*tokenizer->Encode("azb"),
            Ids{2});  // without unk_token a byte that has no id is dropped
  EXPECT_EQ(*tokenizer->Decode({2, 4, 3, 5}), "ab \u4E2D");
  EXPECT_EQ(*tokenizer->Decode({2, 4}, false), "ab<s>");
  EXPECT_EQ(tokenizer->TokenBytes(3), " ");
  EXPECT_EQ(tokenizer->TokenBytes(5), "\u4E2D");
  EXPECT_EQ(tokenizer->TokenBytes(6), "");
  EXPECT_EQ(tokenizer->TokenToId("\u0120"), 3);
  EXPECT_EQ(tokenizer->TokenToId("<s>"), 4);
  EXPECT_FALSE(tokenizer->TokenToId(" ").has_value());
  EXPECT_TRUE(tokenizer->IsSpecial(4));
  EXPECT_FALSE(tokenizer->IsSpecial(5));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
}

TEST(TokenizerTest, RefusesInvalidUtf8ByOffset) {
  const auto status = LoadSmall()->Encode("ab\xC3(").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "byte offset 2")) << status;
}

TEST(TokenizerTest, RefusesUnknownIds) {
  for (const int32_t id : {-1, 6, 1 << 30}) {
    const auto status = LoadSmall()->Decode({0, id}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(id))) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "position 1")) << status;
  }
}

TEST(TokenizerTest, MergesMayBeListsOfTwo) {
  const auto listed =
      LoadChanged([](Json* d) { (*d)["model"]["merges"] = Json::parse(R"([["a","b"]])"); });
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_EQ(*(*listed)->Encode("ab"), Ids{2});
}

TEST(TokenizerTest, TemplateAddsSpecialTokens) {
  const auto tokenizer = LoadChanged([](Json* d) {
    (*d)["post_processor"] = Json::parse(R"({"type":"TemplateProcessing",
      "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
                {"SpecialToken":{"id":"<s>","type_id":0}}],
      "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}})");
  });
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("a", true), (Ids{4, 0, 4}));
  EXPECT_EQ(*(*tokenizer)->Encode("", true), (Ids{4, 4}));
  EXPECT_EQ(*(*tokenizer)->Encode("a"), Ids{0});
}

TEST(TokenizerTest, UnknownTokenStandsForMissingBytes) {
  const auto tokenizer = LoadChanged([](Json* d) { (*d)["model"]["unk_token"] = "b"; });
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("azz"), (Ids{2, 1}));  // and takes part in merges
}

TEST(TokenizerTest, FingerprintSeesEveryToken) {
  const auto small = LoadSmall();
  EXPECT_EQ(small->fingerprint().size(), 64u);
  EXPECT_EQ(small->fingerprint(), LoadSmall()->fingerprint());
  const auto swapped = LoadChanged([](Json* d) {
    (*d)["model"]["vocab"]["a"] = 1;
    (*d)["model"]["vocab"]["b"] = 0;
  });
  EXPECT_NE((*swapped)->fingerprint(), small->fingerprint());
  const auto renamed = LoadChanged([](Json* d) { (*d)["added_tokens"][0]["content"] = "<t>"; });
  EXPECT_NE((*renamed)->fingerprint(), small->fingerprint());
  const auto gap = LoadChanged([](Json* d) {
    (*d)["added_tokens"] = Json::array();
    (*d)["model"]["vocab"]["\u0120"] = 9;
  });
  ASSERT_TRUE(gap.ok()) << gap.status();
  EXPECT_EQ((*gap)->vocab_size(), 10);
  EXPECT_FALSE((*gap)->Contains(5));
  EXPECT_EQ((*gap)->Decode({5}).status().code(), absl::StatusCode::kInvalidArgument);
}

struct Refusal {
  const char* pointer;  // what is set
  const char* value;
  absl::StatusCode code;
  const char* path;  // what the error names
};

TEST(TokenizerTest, RefusesByJsonPath) {
  constexpr auto kNo = absl::StatusCode::kUnimplemented;
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  const Refusal refusals[] = {
      {"/model/type", "\"Unigram\"", kNo, "$.model.type is \"Unigram\""},
      {"/model/type", "3", kBad, "$.model.type"},
      {"/model/dropout", "0.1", kNo, "$.model.dropout"},
      {"/model/dropout", "\"x\"", kBad, "$.model.dropout"},
      {"/model/continuing_subword_prefix", "\"##\"", kNo, "$.model.continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "\"</w>\"", kNo, "$.model.end_of_word_suffix"},
      {"/model/byte_fallback", "true", kNo, "$.model.byte_fallback"},
      {"/model/unk_token", "\"<unk>\"", kBad, "$.model.unk_token"},
      {"/model/vocab", "[]", kBad, "$.model.vocab"},
      {"/model/vocab/a", "-1", kBad, "$.model.vocab[\"a\"]"},
      {"/model/vocab/a", "1.5", kBad, "$.model.vocab[\"a\"]"},
      {"/model/vocab/a", "1e9", kBad, "$.model.vocab[\"a\"]"},
      {"/model/vocab/a", "4000000000", kBad, "$.model.vocab[\"a\"]"},
      {"/model/vocab/b", "0", kBad, "$.model.vocab[\"b\"]"},
      {"/model/merges", "null", kBad, "$.model.merges"},
      {"/model/merges/0", "\"a b b\"", kBad, "$.model.merges[0]"},
      {"/model/merges/0", "\"ab\"", kBad, "$.model.merges[0]"},
      {"/model/merges/0", "\"b a\"", kBad, "$.model.merges[0]"},
      {"/model/merges/0", "[\"a\"]", kBad, "$.model.merges[0]"},
      {"/model", "null", kBad, "$.model"},
      {"/truncation", "{\"max_length\": 4}", kNo, "$.truncation"},
      {"/padding", "{}", kNo, "$.padding"},
      {"/normalizer", "{\"type\":\"Lowercase\"}", kNo, "$.normalizer.type is \"Lowercase\""},
      {"/normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\"}]}", kNo,
       "$.normalizer.normalizers[0].type"},
      {"/normalizer", "7", kBad, "$.normalizer"},
      // Text of characters under a decoder of bytes.
      {"/pre_tokenizer", "null", kNo, "$.decoder.type"},
      {"/pre_tokenizer/type", "\"Metaspace\"", kBad, "$.pre_tokenizer.replacement"},
      {"/pre_tokenizer/type", "\"Whitespace\"", kNo, "$.pre_tokenizer.type"},
      {"/pre_tokenizer/add_prefix_space", "null", kBad, "$.pre_tokenizer.add_prefix_space"},
      {"/pre_tokenizer",
       R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true}]})", kNo,
       "$.decoder.type"},
      {"/pre_tokenizer",
       R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false},
           {"type":"Digits","individual_digits":true}]})",
       kNo, "$.pre_tokenizer.pretokenizers[1].type"},
      {"/pre_tokenizer",
       R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\w"},
           "behavior":"Isolated","invert":false}]})",
       kNo, "$.pre_tokenizer.pretokenizers[0].pattern.Regex"},
      {"/pre_tokenizer",
       R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"MergedWithNext","invert":false})",
       kNo, "$.pre_tokenizer.behavior"},
      {"/decoder", "null", kNo, "$.decoder"},
      {"/decoder/type", "\"WordPiece\"", kNo, "$.decoder.type"},
      {"/post_processor", "{\"type\":\"BertProcessing\"}", kNo, "$.post_processor.type"},
      {"/post_processor",
       R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>"}}],
           "special_tokens":{}})",
       kBad, "$.post_processor.single[0].SpecialToken.id"},
      {"/post_processor",
       R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},
           {"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[77]}}})",
       kBad, "77"},
      {"/post_processor", R"({"type":"TemplateProcessing","single":[],"special_tokens":{}})", kNo,
       "$.post_processor.single"},
      {"/added_tokens", "{}", kBad, "$.added_tokens"},
      {"/added_tokens/0/id", "9", kBad, "$.added_tokens[0].id"},
      {"/added_tokens/0/content", "\"ab\"", kBad, "$.added_tokens[0].id"},
      {"/added_tokens/0/content", "\"\"", kBad, "$.added_tokens[0].content"},
      {"/added_tokens/1/content", "\"<s>\"", kBad, "$.added_tokens[1].content"},
      {"/added_tokens/0/special", "1", kBad, "$.added_tokens[0].special"},
  };
  for (const Refusal& refusal : refusals) {
    const auto tokenizer = LoadChanged([&](Json* document) {
      (*document)[Json::json_pointer(refusal.pointer)] = Json::parse(refusal.value);
    });
    const absl::Status status = tokenizer.status();
    EXPECT_EQ(status.code(), refusal.code) << refusal.pointer << refusal.value << status;
    EXPECT_TRUE(absl::StrContains(status.message(), refusal.path)) << refusal.path << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), "small.json: ")) << status;
  }
}

TEST(TokenizerTest, DamagedFilesNeverCrash) {
  const std::string json = SmallDocument().dump();
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string("null"), std::string("{}"), json.substr(0, 99)}) {
    EXPECT_EQ(Tokenizer::FromJson(text, "x").status().code(), absl::StatusCode::kInvalidArgument);
  }
  std::mt19937 random(11);
  for (int trial = 0; trial < 3000; ++trial) {
    std::string damaged = json;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = "{}[]\",:0a9n "[random() % 12];
    const auto tokenizer = Tokenizer::FromJson(damaged, "x");
    if (tokenizer.ok()) (void)(*tokenizer)->Encode("ab \u4E2D<s>");
  }
  const auto missing = Tokenizer::Load("/nonexistent/tokenizer.json").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound) << missing;
}

TEST(TokenizerTest, DeepNestingIsRefused) {
  std::string nested = R"({"type":"NFC"})";
  for (int i = 0; i < 20; ++i) {
    nested = absl::StrCat(R"({"type":"Sequence","normalizers":[)", nested, "]}");
  }
  const auto tokenizer =
      LoadChanged([&](Json* document) { (*document)["normalizer"] = Json::parse(nested); });
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kUnimplemented);
  // An error about such a value used to print it, and ran out of stack.
  const std::string brackets =
      absl::StrCat("{\"truncation\":", std::string(50000, '['), std::string(50000, ']'), "}");
  const absl::Status status = Tokenizer::FromJson(brackets, "x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "x: holds more than")) << status;
}

// Files of a few KB that used to take gigabytes or minutes.
TEST(TokenizerTest, ShortFilesCannotTakeAllMemory) {
  const auto refused = [](const std::function<void(Json*)>& change, absl::string_view what) {
    const absl::Status status = LoadChanged(change).status();
    EXPECT_TRUE(absl::StrContains(status.message(), what)) << status;
  };
  refused([](Json* d) { (*d)["model"]["vocab"]["z"] = 16000000; }, "far above");
  refused(
      [](Json* d) {
        (*d)["post_processor"] = {
            {"type", "TemplateProcessing"},
            {"single", Json::array({{{"Sequence", {{"id", "A"}}}}})},
            {"special_tokens", {{"x", {{"ids", std::vector<int>(1000, 0)}}}}}};
        for (int i = 0; i < 1000; ++i) {
          (*d)["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "x"}}}});
        }
      },
      "more than 1024 ids");
  const Json digits = {{"type", "Digits"}};
  refused(
      [&](Json* d) {
        (*d)["pre_tokenizer"] = {{"type", "Sequence"},
                                 {"pretokenizers", std::vector<Json>(5000, digits)}};
      },
      "more than 32 steps");
  refused(
      [](Json* d) {
        (*d)["pre_tokenizer"] = {
            {"type", "Metaspace"}, {"replacement", "  "}, {"prepend_scheme", "first"}};
      },
      "not one character");
}

TEST(TokenizerTest, ANormalizerCannotBlowATextUp) {
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const auto tokenizer = LoadChanged([&](Json* d) {
    (*d)["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(30, twice)}};
  });
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("b"), Ids{1});
  EXPECT_EQ((*tokenizer)->Encode("a").status().code(), absl::StatusCode::kResourceExhausted);
}

// Any valid text comes back, with a vocabulary that has every byte and no normaliser.
TEST(TokenizerTest, RoundTripsRandomText) {
  for (const char* kind : {"gpt2", "llama3"}) {
    const auto tokenizer = *Tokenizer::Load(GoldenPath(kind));
    std::mt19937 random(5);
    for (int trial = 0; trial < 500; ++trial) {
      std::string text;
      for (int i = random() % 60; i > 0; --i) {
        const char32_t limits[] = {0x80, 0x250, 0x3000, 0x110000};
        const char32_t c = random() % limits[random() % 4];
        if (c < 0xD800 || c > 0xDFFF) AppendUtf8(c, &text);
      }
      const auto ids = tokenizer->Encode(text);
      ASSERT_TRUE(ids.ok()) << ids.status();
      ASSERT_EQ(*tokenizer->Decode(*ids, false), text);
    }
  }
}

TEST(TokenizerTest, ThreadsGetTheSameIds) {
  const auto tokenizer = *Tokenizer::Load(GoldenPath("qwen2"));
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(absl::StrCat("word", i, " caf\u00E9 ", i * i, " the end of number ", i));
    expected.push_back(*tokenizer->Encode(texts.back()));
  }
  const auto fresh = *Tokenizer::Load(GoldenPath("qwen2"));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        for (size_t i = 0; i < texts.size(); ++i) {
          if (*fresh->Encode(texts[i]) != expected[i]) ++wrong[t];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace unlearn
