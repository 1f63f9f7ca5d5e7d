#include "offset/text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <queue>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/text/added_tokens.h"
#include "offset/text/bpe_model.h"
#include "offset/text/byte_alphabet.h"
#include "offset/text/pre_tokenizer.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

struct Candidate {
  int64_t count;
  uint64_t pair;
  // The heap's top: most frequent, then the smaller ids.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// The merging loop: words as sequences of ids, pair counts kept up to date merge by merge.
class MergeLearner {
 public:
  // `tokens` are the written forms of the ids that exist already; no merge makes one that is in
  // `reserved`.
  MergeLearner(std::vector<std::string> tokens, absl::flat_hash_set<std::string> reserved)
      : tokens_(std::move(tokens)), reserved_(std::move(reserved)) {
    for (size_t id = 0; id < tokens_.size(); ++id) ids_[tokens_[id]] = static_cast<int32_t>(id);
  }

  void AddWord(std::vector<int32_t> symbols, int64_t count) {
    const int32_t index = static_cast<int32_t>(words_.size());
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      Change(BpePair(symbols[i], symbols[i + 1]), count, index);
    }
    words_.push_back({std::move(symbols), count});
  }

  void Learn(size_t vocab_size, int64_t min_frequency) {
    std::priority_queue<Candidate> heap;
    const auto queue_grown = [&] {
      for (const uint64_t pair : grown_) {
        const int64_t count = pairs_[pair].count;
        if (count > 0) heap.push({count, pair});
      }
      grown_.clear();
    };
    queue_grown();
    absl::flat_hash_set<uint64_t> merged;
    while (tokens_.size() < vocab_size && !heap.empty()) {
      const Candidate top = heap.top();
      heap.pop();
      const auto found = pairs_.find(top.pair);
      const int64_t count = found == pairs_.end() ? 0 : found->second.count;
      if (count != top.count) {  // it has shrunk since it was queued
        if (count > 0 && count < top.count) heap.push({count, top.pair});
        continue;
      }
      if (count < min_frequency) break;
      const int32_t left = static_cast<int32_t>(top.pair >> 32);
      const int32_t right = static_cast<int32_t>(top.pair & 0xFFFFFFFFu);
      const std::string token = tokens_[left] + tokens_[right];
      if (reserved_.contains(token)) continue;
      const auto [entry, is_new] = ids_.emplace(token, static_cast<int32_t>(tokens_.size()));
      if (is_new) tokens_.push_back(token);
      if (merged.insert(top.pair).second) merges_.emplace_back(left, right);
      Apply(top.pair, left, right, entry->second);
      queue_grown();
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<std::pair<int32_t, int32_t>>& merges() const { return merges_; }

 private:
  struct PairState {
    int64_t count = 0;
    std::vector<int32_t> words;  // where it may occur
  };

  void Change(uint64_t pair, int64_t by, int32_t word) {
    PairState& state = pairs_[pair];
    state.count += by;
    if (by > 0) {
      if (state.words.empty() || state.words.back() != word) state.words.push_back(word);
      grown_.insert(pair);
    }
  }

  void Apply(uint64_t pair, int32_t left, int32_t right, int32_t id) {
    const std::vector<int32_t> words = std::move(pairs_[pair].words);
    pairs_.erase(pair);
    for (const int32_t index : words) {
      std::vector<int32_t>& symbols = words_[index].symbols;
      const int64_t count = words_[index].count;
      size_t out = 0;
      for (size_t i = 0; i < symbols.size(); ++i) {
        const bool matches =
            i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
        if (!matches) {
          symbols[out++] = symbols[i];
          continue;
        }
        if (out > 0) {
          const int32_t before = symbols[out - 1];
          if (BpePair(before, left) != pair) Change(BpePair(before, left), -count, index);
          Change(BpePair(before, id), count, index);
        }
        if (i + 2 < symbols.size()) {
          const int32_t after = symbols[i + 2];
          if (BpePair(right, after) != pair) Change(BpePair(right, after), -count, index);
          Change(BpePair(id, after), count, index);
        }
        symbols[out++] = id;
        ++i;
      }
      symbols.resize(out);
    }
  }

  std::vector<std::string> tokens_;
  absl::flat_hash_set<std::string> reserved_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<Word> words_;
  absl::flat_hash_map<uint64_t, PairState> pairs_;
  absl::flat_hash_set<uint64_t> grown_;  // pairs to queue (again)
  std::vector<std::pair<int32_t, int32_t>> merges_;
};

absl::Status CheckOptions(const BpeTrainerOptions& options) {
  if (options.min_frequency < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("min_frequency is ", options.min_frequency, ": must be at least 1"));
  }
  absl::flat_hash_set<std::string> seen;
  for (size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::string& token = options.special_tokens[i];
    absl::string_view reason;
    if (token.empty()) {
      reason = "is empty";
    } else if (ValidUtf8Prefix(token) != token.size()) {
      reason = "is not valid UTF-8";
    } else if (const auto bytes = AlphabetToBytes(token); bytes.has_value() && bytes->size() == 1) {
      reason = "is a single character that also stands for a byte";
    } else if (!seen.insert(token).second) {
      reason = "is listed twice";
    }
    if (!reason.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("special_tokens[", i, "] ", reason));
    }
  }
  const size_t least = 256 + options.special_tokens.size();
  if (options.vocab_size < 0 || static_cast<size_t>(options.vocab_size) < least) {
    return absl::InvalidArgumentError(
        absl::StrCat("vocab_size is ", options.vocab_size, ": must be at least ", least,
                     " (256 bytes and ", options.special_tokens.size(), " special tokens)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::flat_hash_map<std::string, int64_t>> CountWords(
    const std::vector<std::string>& texts, const BpeTrainerOptions& options) {
  std::vector<AddedToken> special(options.special_tokens.size());
  for (size_t i = 0; i < special.size(); ++i) special[i].content = options.special_tokens[i];
  const AddedTokenMatcher matcher(std::move(special));
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(step.pattern, Regex::Compile(kGpt2Pattern));
  std::vector<PreTokenizerStep> steps;
  steps.push_back(std::move(step));
  const PreTokenizer pre_tokenizer(std::move(steps));
  absl::flat_hash_map<std::string, int64_t> counts;
  const auto on_word = [&](absl::string_view word) {
    ++counts[word];
    return absl::OkStatus();
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    const size_t valid = ValidUtf8Prefix(texts[i]);
    if (valid != texts[i].size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("texts[", i, "] is not valid UTF-8 at byte offset ", valid));
    }
    RETURN_IF_ERROR(
        matcher.Split(texts[i], [&](absl::string_view piece, int32_t id) -> absl::Status {
          if (id >= 0) return absl::OkStatus();
          return pre_tokenizer.Split(piece, PieceStart::kWithin, on_word);
        }));
  }
  return counts;
}

std::string WriteJson(const BpeTrainerOptions& options, const MergeLearner& learner) {
  using Json = nlohmann::ordered_json;
  Json added = Json::array();
  for (size_t i = 0; i < options.special_tokens.size(); ++i) {
    added.push_back(Json{{"id", i},
                         {"content", options.special_tokens[i]},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", true}});
  }
  // Appended rather than looked up: an ordered object is a list.
  Json::object_t vocabulary;
  for (size_t id = 0; id < learner.tokens().size(); ++id) {
    vocabulary.push_back(Json::object_t::value_type(learner.tokens()[id], Json(id)));
  }
  Json merges = Json::array();
  for (const auto& [left, right] : learner.merges()) {
    merges.push_back(absl::StrCat(learner.tokens()[left], " ", learner.tokens()[right]));
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", std::move(added)},
                         {"normalizer", nullptr},
                         {"pre_tokenizer", byte_level},
                         {"post_processor", nullptr},
                         {"decoder", byte_level},
                         {"model",
                          {{"type", "BPE"},
                           {"dropout", nullptr},
                           {"unk_token", nullptr},
                           {"continuing_subword_prefix", nullptr},
                           {"end_of_word_suffix", nullptr},
                           {"fuse_unk", false},
                           {"byte_fallback", false},
                           {"ignore_merges", false},
                           {"vocab", Json(std::move(vocabulary))},
                           {"merges", std::move(merges)}}}};
  return document.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<std::string> TrainByteLevelBpe(const std::vector<std::string>& texts,
                                              const BpeTrainerOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const auto counts, CountWords(texts, options));

  // Bytes take their ids in the order of the characters that stand for them.
  std::vector<std::pair<char32_t, uint8_t>> alphabet;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet.emplace_back(ByteAlphabetCodePoint(static_cast<uint8_t>(byte)), byte);
  }
  std::sort(alphabet.begin(), alphabet.end());
  std::vector<std::string> tokens = options.special_tokens;
  std::array<int32_t, 256> byte_ids;
  for (const auto& [code_point, byte] : alphabet) {
    byte_ids[byte] = static_cast<int32_t>(tokens.size());
    tokens.emplace_back();
    AppendUtf8(code_point, &tokens.back());
  }
  MergeLearner learner(std::move(tokens),
                       {options.special_tokens.begin(), options.special_tokens.end()});
  for (const auto& [word, count] : counts) {
    std::vector<int32_t> symbols;
    symbols.reserve(word.size());
    for (const char byte : word) symbols.push_back(byte_ids[static_cast<uint8_t>(byte)]);
    learner.AddWord(std::move(symbols), count);
  }
  learner.Learn(static_cast<size_t>(options.vocab_size), options.min_frequency);
  return WriteJson(options, learner);
}

}  // namespace unlearn
