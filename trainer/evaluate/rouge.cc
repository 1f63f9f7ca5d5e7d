#include "trainer/evaluate/rouge.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "trainer/evaluate/porter_stemmer.h"

namespace unlearn {
namespace {

RougeScore ScoreOf(size_t matched, size_t target_tokens, size_t prediction_tokens) {
  RougeScore score;
  if (matched == 0) return score;
  score.precision = static_cast<double>(matched) / prediction_tokens;
  score.recall = static_cast<double>(matched) / target_tokens;
  score.fmeasure = 2 * score.precision * score.recall / (score.precision + score.recall);
  return score;
}

size_t LongestCommonSubsequence(const std::vector<std::string>& a,
                                const std::vector<std::string>& b) {
  // length[j]: of a's first i tokens and b's first j.
  std::vector<size_t> length(b.size() + 1, 0);
  for (const std::string& token : a) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = length[j];
      length[j] = token == b[j - 1] ? diagonal + 1 : std::max(above, length[j - 1]);
      diagonal = above;
    }
  }
  return length.back();
}

}  // namespace

std::vector<std::string> RougeTokens(absl::string_view text, bool use_stemmer) {
  // The two letters outside ASCII whose lowercase begins inside it.
  constexpr absl::string_view kKelvinSign = "\xE2\x84\xAA";  // k
  constexpr absl::string_view kCapitalDottedI = "\xC4\xB0";  // i and a combining dot
  std::vector<std::string> tokens;
  std::string token;
  const auto finish = [&] {
    if (token.empty()) return;
    tokens.push_back(use_stemmer && token.size() > 3 ? PorterStem(token) : token);
    token.clear();
  };
  while (!text.empty()) {
    size_t width = 1;
    if (absl::ascii_isalnum(static_cast<unsigned char>(text.front()))) {
      token.push_back(absl::ascii_tolower(static_cast<unsigned char>(text.front())));
    } else if (absl::StartsWith(text, kKelvinSign)) {
      token.push_back('k');
      width = kKelvinSign.size();
    } else if (absl::StartsWith(text, kCapitalDottedI)) {
      token.push_back('i');
      finish();
      width = kCapitalDottedI.size();
    } else {
      finish();
    }
    text.remove_prefix(width);
  }
  finish();
  return tokens;
}

RougeScore RougeL(absl::string_view target, absl::string_view prediction, bool use_stemmer) {
  const std::vector<std::string> expected = RougeTokens(target, use_stemmer);
  const std::vector<std::string> actual = RougeTokens(prediction, use_stemmer);
  return ScoreOf(LongestCommonSubsequence(expected, actual), expected.size(), actual.size());
}

RougeScore Rouge1(absl::string_view target, absl::string_view prediction, bool use_stemmer) {
  const std::vector<std::string> expected = RougeTokens(target, use_stemmer);
  const std::vector<std::string> actual = RougeTokens(prediction, use_stemmer);
  absl::flat_hash_map<absl::string_view, int> unmatched;
  for (const std::string& token : expected) ++unmatched[token];
  size_t matched = 0;
  for (const std::string& token : actual) {
    const auto it = unmatched.find(token);
    if (it != unmatched.end() && it->second > 0) {
      --it->second;
      ++matched;
    }
  }
  return ScoreOf(matched, expected.size(), actual.size());
}

}  // namespace unlearn
