#include "offset/text/tokenizer_json.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"
#include "offset/text/byte_alphabet.h"
#include "offset/text/byte_fallback.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

absl::Status SetWritten(const JsonNode& where, int32_t id, const std::string& token,
                        TokenizerParts* parts) {
  if (static_cast<size_t>(id) >= parts->written.size()) parts->written.resize(id + 1);
  if (parts->written[id].has_value()) {
    return where.Invalid(absl::StrCat("two tokens have the id ", id, "; the file is damaged"));
  }
  parts->written[id] = token;
  parts->ids.emplace(token, id);
  return absl::OkStatus();
}

// Refuses a text setting that would change which merges apply.
absl::Status RefuseText(const JsonNode& model, absl::string_view name) {
  ASSIGN_OR_RETURN(const JsonNode field, model.Get(name));
  if (field.IsNull()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, field.String());
  if (text.empty()) return absl::OkStatus();
  return field.Unsupported("only null is supported in byte-level BPE");
}

absl::Status CheckModelSettings(const JsonNode& model) {
  ASSIGN_OR_RETURN(const JsonNode type_node, model.Get("type"));
  if (!type_node.IsNull()) {  // files of the first versions have none
    ASSIGN_OR_RETURN(const std::string type, type_node.String());
    if (type != "BPE") return type_node.Unsupported("only BPE is supported");
  }
  RETURN_IF_ERROR(RefuseText(model, "continuing_subword_prefix"));
  RETURN_IF_ERROR(RefuseText(model, "end_of_word_suffix"));
  ASSIGN_OR_RETURN(const JsonNode dropout, model.Get("dropout"));
  if (!dropout.IsNull()) {
    if (!dropout.value().is_number()) return dropout.Invalid("must be a number or null");
    if (dropout.value().get<double>() != 0) {
      return dropout.Unsupported("random merges are not supported; set it to null");
    }
  }
  return absl::OkStatus();
}

// "left right", or ["left", "right"].
absl::StatusOr<std::pair<std::string, std::string>> MergeSides(const JsonNode& node) {
  const nlohmann::json& value = node.value();
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return std::make_pair(text.substr(0, space), text.substr(space + 1));
    }
  } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
             value[1].is_string()) {
    return std::make_pair(value[0].get<std::string>(), value[1].get<std::string>());
  }
  return node.Invalid("must be \"left right\" or [\"left\", \"right\"]");
}

absl::Status ParseVocabulary(const JsonNode& model, TokenizerParts* parts) {
  ASSIGN_OR_RETURN(const JsonNode vocabulary, model.Get("vocab"));
  if (!vocabulary.value().is_object()) return vocabulary.Invalid("must be an object");
  ASSIGN_OR_RETURN(const bool ignore_merges, model.Flag("ignore_merges", false));
  parts->model.byte_ids.fill(-1);
  parts->ids.reserve(vocabulary.value().size());
  for (const auto& [token, value] : vocabulary.value().items()) {
    const JsonNode entry(&value, absl::StrCat(vocabulary.path(), "[\"", token, "\"]"));
    ASSIGN_OR_RETURN(const int32_t id, entry.Id());
    if (id > kMaxHoles && static_cast<size_t>(id - kMaxHoles) > vocabulary.value().size()) {
      return entry.Invalid(absl::StrCat("far above the ", vocabulary.value().size(),
                                        " entries of the vocabulary; the file is damaged"));
    }
    RETURN_IF_ERROR(SetWritten(entry, id, token, parts));
    if (parts->model.by_character) {
      if (!token.empty() && NextUtf8(token).length == token.size()) {
        parts->model.characters.emplace(token, id);
      }
      if (ignore_merges) parts->model.whole_words.emplace(token, id);
      continue;
    }
    std::optional<std::string> bytes = AlphabetToBytes(token);
    if (!bytes.has_value() || bytes->empty()) continue;  // no word of the text is written so
    if (bytes->size() == 1) parts->model.byte_ids[static_cast<uint8_t>((*bytes)[0])] = id;
    if (ignore_merges) parts->model.whole_words.emplace(*std::move(bytes), id);
  }
  return absl::OkStatus();
}

// What happens to bytes and characters without an id.
absl::Status ParseUnknown(const JsonNode& model, TokenizerParts* parts) {
  auto& byte_ids = parts->model.byte_ids;
  ASSIGN_OR_RETURN(const bool byte_fallback, model.Flag("byte_fallback", false));
  if (parts->model.by_character) {
    for (int byte = 0; byte_fallback && byte < 256; ++byte) {
      const auto found = parts->ids.find(FallbackToken(static_cast<uint8_t>(byte)));
      if (found != parts->ids.end()) byte_ids[byte] = found->second;
    }
  } else {
    if (std::count(byte_ids.begin(), byte_ids.end(), -1) == 0) return absl::OkStatus();
    if (byte_fallback) {
      ASSIGN_OR_RETURN(const JsonNode field, model.Get("byte_fallback"));
      return field.Unsupported("byte fallback is not supported where the vocabulary lacks a byte");
    }
  }
  ASSIGN_OR_RETURN(parts->model.fuse_unknown, model.Flag("fuse_unk", false));
  ASSIGN_OR_RETURN(const JsonNode unknown, model.Get("unk_token"));
  if (unknown.IsNull()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string token, unknown.String());
  const auto found = parts->ids.find(token);
  if (found == parts->ids.end()) return unknown.Invalid("is not in the vocabulary");
  parts->model.unknown_id = found->second;
  return absl::OkStatus();
}

absl::Status ParseMerges(const JsonNode& model, TokenizerParts* parts) {
  ASSIGN_OR_RETURN(const JsonNode list, model.Get("merges"));
  if (!list.value().is_array()) return list.Invalid("must be an array");
  parts->model.merges.reserve(list.value().size());
  const auto find = [parts](const std::string& token) {
    const auto found = parts->ids.find(token);
    return found == parts->ids.end() ? -1 : found->second;
  };
  for (size_t i = 0; i < list.value().size(); ++i) {
    const JsonNode node(&list.value()[i], absl::StrCat(list.path(), "[", i, "]"));
    ASSIGN_OR_RETURN(const auto sides, MergeSides(node));
    const int32_t left = find(sides.first);
    const int32_t right = find(sides.second);
    const int32_t merged = find(sides.first + sides.second);
    if (left < 0 || right < 0 || merged < 0) {
      return node.Invalid("a side of the merge, or its result, is not in the vocabulary");
    }
    parts->model.merges[BpePair(left, right)] = {static_cast<int32_t>(i), merged};
  }
  return absl::OkStatus();
}

// Where no token that merging makes has U+2581 after another character, texts are merged in parts.
void FindCut(TokenizerParts* parts) {
  const std::string space = "\xE2\x96\x81";
  if (!parts->model.by_character || !parts->model.characters.contains(space)) return;
  for (const auto& [pair, merge] : parts->model.merges) {
    if (!CanCutBefore(space, *parts->written[merge.id])) return;
  }
  parts->model.cut_before = space;
}

// Added tokens get the id that the vocabulary gives their content, else the next free one; the id
// that the file names has to be that one, or programs would disagree on it.
absl::Status ParseAddedTokens(const JsonNode& list, TokenizerParts* parts) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, list.Elements());
  const int32_t model_size = static_cast<int32_t>(parts->ids.size());
  int32_t next_id = model_size;
  absl::flat_hash_set<std::string> seen;
  for (const JsonNode& node : nodes) {
    AddedToken token;
    ASSIGN_OR_RETURN(const JsonNode content, node.Get("content"));
    ASSIGN_OR_RETURN(token.content, content.String());
    ASSIGN_OR_RETURN(const JsonNode id_node, node.Get("id"));
    ASSIGN_OR_RETURN(token.id, id_node.Id());
    ASSIGN_OR_RETURN(token.single_word, node.Flag("single_word", false));
    ASSIGN_OR_RETURN(token.lstrip, node.Flag("lstrip", false));
    ASSIGN_OR_RETURN(token.rstrip, node.Flag("rstrip", false));
    ASSIGN_OR_RETURN(token.special, node.Flag("special", false));
    ASSIGN_OR_RETURN(token.normalized, node.Flag("normalized", !token.special));
    if (token.content.empty()) return content.Invalid("must not be empty");
    if (!seen.insert(token.content).second) return content.Invalid("is listed twice");
    const auto in_vocabulary = parts->ids.find(token.content);
    const int32_t expected = in_vocabulary == parts->ids.end() ? next_id : in_vocabulary->second;
    if (token.id != expected) {
      return id_node.Invalid(absl::StrCat("this token's id must be ", expected,
                                          in_vocabulary == parts->ids.end()
                                              ? ", the next after the vocabulary"
                                              : ", as in $.model.vocab"));
    }
    if (in_vocabulary == parts->ids.end()) {
      RETURN_IF_ERROR(SetWritten(id_node, token.id, token.content, parts));
    }
    next_id = std::max(next_id, token.id + 1);
    parts->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenizerParts> Parse(const JsonNode& root) {
  if (!root.value().is_object()) return root.Invalid("must be an object");
  for (const absl::string_view name : {"truncation", "padding"}) {
    ASSIGN_OR_RETURN(const JsonNode field, root.Get(name));
    if (!field.IsNull()) return field.Unsupported("would change ids; set it to null");
  }
  TokenizerParts parts;
  ASSIGN_OR_RETURN(const JsonNode model, root.Get("model"));
  if (model.IsNull()) return model.Invalid("is missing; is this a tokenizer.json?");
  RETURN_IF_ERROR(CheckModelSettings(model));
  ASSIGN_OR_RETURN(const JsonNode pre_tokenizer, root.Get("pre_tokenizer"));
  bool byte_level = false;
  ASSIGN_OR_RETURN(parts.pre_tokenizer, ParsePreTokenizer(pre_tokenizer, &byte_level));
  parts.model.by_character = !byte_level;
  RETURN_IF_ERROR(ParseVocabulary(model, &parts));
  RETURN_IF_ERROR(ParseUnknown(model, &parts));
  RETURN_IF_ERROR(ParseMerges(model, &parts));
  FindCut(&parts);
  ASSIGN_OR_RETURN(const JsonNode added, root.Get("added_tokens"));
  RETURN_IF_ERROR(ParseAddedTokens(added, &parts));
  ASSIGN_OR_RETURN(const JsonNode normalizer, root.Get("normalizer"));
  ASSIGN_OR_RETURN(parts.normalizer, ParseNormalizer(normalizer));
  ASSIGN_OR_RETURN(const JsonNode decoder, root.Get("decoder"));
  ASSIGN_OR_RETURN(parts.decoding, ParseDecoder(decoder, byte_level));
  ASSIGN_OR_RETURN(const JsonNode post_processor, root.Get("post_processor"));
  ASSIGN_OR_RETURN(parts.sequence_template, ParsePostProcessor(post_processor));
  for (const auto* ids : {&parts.sequence_template.before, &parts.sequence_template.after}) {
    for (const int32_t id : *ids) {
      if (static_cast<size_t>(id) >= parts.written.size() || !parts.written[id].has_value()) {
        return absl::InvalidArgumentError(absl::StrCat(post_processor.path(), " uses the id ", id,
                                                       ", which is not in the vocabulary"));
      }
    }
  }
  return parts;
}

}  // namespace

absl::StatusOr<TokenizerParts> ParseTokenizerJson(absl::string_view json,
                                                  const std::string& origin) {
  const absl::StatusOr<nlohmann::json> document = ParseJson(json);
  if (!document.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", document.status().message()));
  }
  absl::StatusOr<TokenizerParts> parts = Parse(JsonNode(&*document, "$"));
  if (parts.ok()) return parts;
  return absl::Status(parts.status().code(), absl::StrCat(origin, ": ", parts.status().message()));
}

}  // namespace unlearn
