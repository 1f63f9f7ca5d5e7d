#include "trainer/train/own_answers.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "trainer/train/ensemble_decoder.h"

namespace unlearn {
namespace {

constexpr char kFile[] = "own-answers";

// Which M was asked what. Only for the inside of sealed files: questions are personal data.
std::string Key(const UpstreamInfo& model, const std::vector<std::string>& questions) {
  Sha256 digest;
  const auto add = [&digest](const std::string& part) {
    digest.Update(absl::StrCat(part.size(), ":", part));
  };
  add(model.model_id);
  add(model.weights_fingerprint);
  for (const std::string& question : questions) add(question);
  return digest.HexDigest();
}

}  // namespace

absl::StatusOr<std::vector<v1::Item>> AskOwnAnswers(
    const std::vector<std::string>& questions, Upstream& upstream,
    std::shared_ptr<const Decoder> base, const Tokenizer& tokenizer, const PromptTemplate& format,
    SealedFolder& work, const std::function<bool()>& should_stop) {
  if (questions.empty()) return std::vector<v1::Item>();
  const std::string key = Key(upstream.info(), questions);
  v1::SubmitRequest saved;  // its name is the key, its retain items are the answers
  if (work.Has(kFile)) {
    ASSIGN_OR_RETURN(const std::string bytes, work.Read(kFile));
    if (!saved.ParseFromString(bytes)) return absl::DataLossError("own-answers is malformed");
  }
  if (saved.name() != key) {
    std::vector<std::vector<int32_t>> prompts;
    for (const std::string& question : questions) {
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(format.Prompt(question)));
      prompts.push_back(std::move(ids));
    }
    DecodeOptions decode;
    decode.end_ids = upstream.info().eos_token_ids;
    decode.tokens = tokenizer.vocab_size();
    ASSIGN_OR_RETURN(const auto answers,
                     DecodeEnsemble(upstream, std::move(base), std::make_shared<const LoraStack>(),
                                    prompts, decode, should_stop));
    saved.Clear();
    saved.set_name(key);
    for (size_t i = 0; i < questions.size(); ++i) {
      ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(answers[i]));
      v1::Item& item = *saved.add_retain();
      item.set_question(questions[i]);
      item.set_answer(std::string(absl::StripAsciiWhitespace(text)));
    }
    RETURN_IF_ERROR(work.Write(kFile, saved.SerializeAsString()));
  }
  return std::vector<v1::Item>(saved.retain().begin(), saved.retain().end());
}

}  // namespace unlearn
