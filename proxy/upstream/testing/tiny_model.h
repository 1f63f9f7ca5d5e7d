#ifndef PROXY_UPSTREAM_TESTING_TINY_MODEL_H_
#define PROXY_UPSTREAM_TESTING_TINY_MODEL_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace unlearn {

struct TinyModelOptions {
  // Ids 0-255 are the bytes, 256 "<|endoftext|>", 257 "<|user|>", 258 "<|assistant|>", the rest
  // two-letter words that encoding never makes (there are no merges) and decoding knows.
  int vocab_size = 300;
  // The last rows of the vocabulary that no token stands for, as padded checkpoints have them.
  int padded_rows = 0;
  int hidden = 32;
  int layers = 2;
  int heads = 4;
  int kv_heads = 2;
  int max_positions = 256;
  uint64_t seed = 1;
  int eos_token_id = 256;
};

// Writes an HF model folder (made if missing): config.json, model.safetensors (fp32, random, the
// same for the same options), tokenizer.json. Logits spread by about 2, so that the most probable
// token is rarely a tie.
absl::Status WriteTinyModel(const std::string& folder, const TinyModelOptions& options = {});

// tokenizer.json of such a folder with this many tokens (at least 259).
std::string TinyTokenizerJson(int tokens);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_TESTING_TINY_MODEL_H_
