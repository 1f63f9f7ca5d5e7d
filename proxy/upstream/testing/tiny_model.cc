#include "proxy/upstream/testing/tiny_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/decoder.h"
#include "offset/model/model_config.h"
#include "offset/model/tensor_io.h"

namespace unlearn {
namespace {

constexpr int kFirstSpecial = 256;
constexpr const char* kSpecial[] = {"<|endoftext|>", "<|user|>", "<|assistant|>"};
constexpr int kFirstWord = kFirstSpecial + 3;

std::string Utf8(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

// The printable stand-in of a byte in byte-level BPE files: printable Latin-1 stands for itself,
// the other bytes are numbered from U+0100.
std::string ByteSymbol(int byte) {
  const auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  if (printable(byte)) return Utf8(byte);
  int code_point = 256;
  for (int b = 0; b < byte; ++b) code_point += printable(b) ? 0 : 1;
  return Utf8(code_point);
}

// "aa", "ab", ..., "zz", "aaa", ...
std::string Word(int index) {
  std::string word;
  for (int64_t rest = index + 26; rest >= 0; rest = rest / 26 - 1) {
    word.insert(word.begin(), static_cast<char>('a' + rest % 26));
  }
  return word;
}

}  // namespace

std::string TinyTokenizerJson(int tokens) {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[ByteSymbol(byte)] = byte;
  nlohmann::json added = nlohmann::json::array();
  for (int i = 0; i < 3; ++i) {
    vocab[kSpecial[i]] = kFirstSpecial + i;
    added.push_back({{"id", kFirstSpecial + i},
                     {"content", kSpecial[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  for (int id = kFirstWord; id < tokens; ++id) vocab[Word(id - kFirstWord)] = id;
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", true}};
  const nlohmann::json json = {{"version", "1.0"},
                               {"truncation", nullptr},
                               {"padding", nullptr},
                               {"added_tokens", added},
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
                                 {"vocab", vocab},
                                 {"merges", nlohmann::json::array()}}}};
  return json.dump();
}

absl::Status WriteTinyModel(const std::string& folder, const TinyModelOptions& options) {
  const int tokens = options.vocab_size - options.padded_rows;
  if (tokens < kFirstWord) {
    return absl::InvalidArgumentError(
        absl::StrCat("tiny model: vocab_size ", options.vocab_size, " less padded_rows ",
                     options.padded_rows, " leaves no room for the ", kFirstWord, " basic tokens"));
  }
  ModelConfig config;
  config.vocab_size = options.vocab_size;
  config.hidden_size = options.hidden;
  config.intermediate_size = 2 * options.hidden;
  config.num_layers = options.layers;
  config.num_heads = options.heads;
  config.num_kv_heads = options.kv_heads;
  config.head_dim = options.hidden / options.heads;
  config.max_positions = options.max_positions;
  config.eos_token_ids = {options.eos_token_id};
  std::map<std::string, at::Tensor> weights = Decoder::Init(config, options.seed)->NamedWeights();
  // Initial weights are normal with 0.02, the last hidden state has entries of about 1.
  weights["lm_head.weight"] = weights["lm_head.weight"] * (100.0 / std::sqrt(options.hidden));
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(folder, "config.json"), ModelConfigToJson(config, "float32")));
  RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(folder, "tokenizer.json"), TinyTokenizerJson(tokens)));
  return WriteFileAtomically(JoinPath(folder, "model.safetensors"),
                             SerializeTensors(weights, at::kFloat, {{"format", "pt"}}));
}

}  // namespace unlearn
