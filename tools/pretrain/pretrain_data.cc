#include "tools/pretrain/pretrain_data.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

absl::Status ReadJsonLines(const std::string& file, const std::string& contents,
                           const Tokenizer& tokenizer, const PromptTemplate& format, int32_t eos,
                           int64_t context, std::vector<EncodedItem>& items) {
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(contents, '\n')) {
    ++line_number;
    if (line.empty()) continue;
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ":", line_number, ": ", what, " (", line.size(), " bytes)"));
    };
    const nlohmann::json json = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (json.is_discarded() || !json.is_object()) return error("is no JSON object");
    const auto text = [&](const char* field) -> std::string {
      const auto it = json.find(field);
      return it != json.end() && it->is_string() ? it->get<std::string>() : "";
    };
    absl::StatusOr<EncodedItem> item =
        text("text").empty() ? EncodeItem(tokenizer, format, text("question"), text("answer"), eos)
                             : EncodeText(tokenizer, text("text"), -1, eos);
    if (text("text").empty() && (text("question").empty() || text("answer").empty())) {
      return error("has neither a text nor a question with its answer");
    }
    if (!item.ok()) return error(item.status().message());
    if (static_cast<int64_t>(item->prompt.size() + item->answer.size()) > context) {
      return error(absl::StrCat("has ", item->prompt.size() + item->answer.size(),
                                " tokens, the context is ", context));
    }
    items.push_back(*std::move(item));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<EncodedItem>> ReadPretrainData(const std::vector<std::string>& files,
                                                          const Tokenizer& tokenizer,
                                                          const PromptTemplate& format, int32_t eos,
                                                          int64_t context) {
  std::vector<EncodedItem> items;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(file));
    if (!absl::EndsWith(file, ".txt")) {
      RETURN_IF_ERROR(ReadJsonLines(file, contents, tokenizer, format, eos, context, items));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(contents));
    for (size_t begin = 0; begin + 1 < ids.size(); begin += context) {
      const size_t end = std::min(ids.size(), begin + context);
      EncodedItem window;
      window.prompt = {ids[begin]};
      window.answer.assign(ids.begin() + begin + 1, ids.begin() + end);
      if (!window.answer.empty()) items.push_back(std::move(window));
    }
  }
  if (items.empty())
    return absl::InvalidArgumentError("--data: the files hold no item to train on");
  return items;
}

std::vector<std::vector<size_t>> EpochBatches(const std::vector<EncodedItem>& items,
                                              int64_t batch_tokens, uint64_t seed, int64_t epoch) {
  std::mt19937_64 random(seed * 1000003 + epoch);
  const auto shuffle = [&random](auto& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random() % i]);
  };
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  shuffle(order);
  const auto length = [&](size_t i) { return items[i].prompt.size() + items[i].answer.size(); };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return length(a) < length(b); });
  std::vector<std::vector<size_t>> batches;
  size_t longest = 0;
  for (const size_t index : order) {
    const size_t padded = std::max(longest, length(index));
    if (batches.empty() ||
        static_cast<int64_t>(padded * (batches.back().size() + 1)) > batch_tokens) {
      batches.emplace_back();
      longest = 0;
    }
    batches.back().push_back(index);
    longest = std::max(longest, length(index));
  }
  shuffle(batches);
  return batches;
}

}  // namespace unlearn
