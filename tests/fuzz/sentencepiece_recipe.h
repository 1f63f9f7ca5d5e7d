#ifndef TESTS_FUZZ_SENTENCEPIECE_RECIPE_H_
#define TESTS_FUZZ_SENTENCEPIECE_RECIPE_H_

#include <string>

#include "tests/fuzz/property.h"

namespace unlearn {

// A SentencePiece model and what lies beside it, made from a fuzzer's input: most models are sound,
// so that the fuzzer spends its time behind the parser. The input is
// - a byte: 1 BPE, 2 byte fallback (the 256 pieces are added), 4 no space before a text, 8 spaces
//   are kept, 16 `beside` is added_tokens.json, 32 the rules are used, 64 there is a long text;
// - `beside`, `text`, and the pieces, each up to a byte 0xFF; a piece begins with a byte for its
//   kind (the low 3 bits) and score, and an empty one ends them;
// - two bytes: how many units the rules' double array has, then the units, then the replacements.
struct SentencePieceRecipe {
  bool bpe = false;
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  std::string beside_name;  // "tokenizer_config.json" or "added_tokens.json"
  std::string beside;       // empty: there is none
  std::string text;         // to encode; any bytes
  // `text` many times: so long that a step for each pair of its bytes takes longer than an input
  // may. Empty: none.
  std::string long_text;
  std::string rules;       // empty: none
  bool has_space = false;  // U+2581 is a piece of its own
  std::string model;       // the .model
};

SentencePieceRecipe ReadSentencePieceRecipe(Input* input);

}  // namespace unlearn

#endif  // TESTS_FUZZ_SENTENCEPIECE_RECIPE_H_
