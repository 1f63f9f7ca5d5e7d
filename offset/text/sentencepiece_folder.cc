#include "offset/text/sentencepiece_folder.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"
#include "offset/text/json_node.h"
#include "offset/text/sentencepiece_file.h"

namespace unlearn {
namespace {

// The object in the file `name` beside the model; an empty one where there is no such file.
absl::StatusOr<nlohmann::json> ReadObject(const std::string& path) {
  if (!FileExists(path)) return nlohmann::json::object();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  absl::StatusOr<nlohmann::json> document = ParseJson(text);
  if (!document.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", document.status().message()));
  }
  if (!document->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
  }
  return document;
}

absl::Status In(const std::string& path, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::Status Add(const JsonNode& node, AddedToken token, TokenizerParts* parts) {
  if (token.content.empty()) return node.Invalid("an added token must have a text");
  if (token.id > kMaxHoles && static_cast<size_t>(token.id - kMaxHoles) > parts->ids.size()) {
    return node.Invalid(absl::StrCat("the id ", token.id, " is far above the ", parts->ids.size(),
                                     " tokens; the file is damaged"));
  }
  if (static_cast<size_t>(token.id) >= parts->written.size()) parts->written.resize(token.id + 1);
  auto& written = parts->written[token.id];
  const auto [known, is_new] = parts->ids.emplace(token.content, token.id);
  if (known->second != token.id || (written.has_value() && *written != token.content)) {
    return node.Invalid(absl::StrCat("the id ", token.id, " or its text belongs to another token"));
  }
  written = token.content;
  parts->added_tokens.push_back(std::move(token));
  return absl::OkStatus();
}

// {"32000": {"content": "<pad>", "special": true, …}}
absl::Status ParseAddedTokens(const JsonNode& tokens, TokenizerParts* parts) {
  if (tokens.IsNull()) return absl::OkStatus();
  if (!tokens.value().is_object()) return tokens.Invalid("must be an object");
  for (const auto& [key, value] : tokens.value().items()) {
    const JsonNode node(&value, absl::StrCat(tokens.path(), "[\"", key, "\"]"));
    AddedToken token;
    if (!absl::SimpleAtoi(key, &token.id) || token.id < 0 || token.id > kMaxTokenId) {
      return node.Invalid("its key must be a token id");
    }
    ASSIGN_OR_RETURN(const JsonNode content, node.Get("content"));
    ASSIGN_OR_RETURN(token.content, content.String());
    ASSIGN_OR_RETURN(token.single_word, node.Flag("single_word", false));
    ASSIGN_OR_RETURN(token.lstrip, node.Flag("lstrip", false));
    ASSIGN_OR_RETURN(token.rstrip, node.Flag("rstrip", false));
    ASSIGN_OR_RETURN(token.special, node.Flag("special", false));
    RETURN_IF_ERROR(Add(node, std::move(token), parts));
  }
  return absl::OkStatus();
}

// {"<pad>": 32000}
absl::Status ParseAddedTokenIds(const JsonNode& tokens, TokenizerParts* parts) {
  for (const auto& [content, value] : tokens.value().items()) {
    const JsonNode node(&value, absl::StrCat(tokens.path(), "[\"", content, "\"]"));
    AddedToken token;
    token.content = content;
    ASSIGN_OR_RETURN(token.id, node.Id());
    RETURN_IF_ERROR(Add(node, std::move(token), parts));
  }
  return absl::OkStatus();
}

// The id of bos_token or eos_token ("<s>" or {"content": "<s>"}); where it is not named, that of
// `piece`. -1: there is none.
absl::StatusOr<int32_t> NamedToken(const JsonNode& config, absl::string_view name,
                                   const std::string& piece, const TokenizerParts& parts) {
  ASSIGN_OR_RETURN(JsonNode node, config.Get(name));
  if (node.value().is_object()) {
    ASSIGN_OR_RETURN(node, node.Get("content"));
  }
  const bool named = !node.IsNull();
  std::string text = piece;
  if (named) {
    ASSIGN_OR_RETURN(text, node.String());
  }
  const auto found = parts.ids.find(text);
  if (found != parts.ids.end()) return found->second;
  if (named) return node.Invalid("is not in the vocabulary");
  return -1;
}

absl::Status ParseConfig(const JsonNode& config, const SentencePieceFile& file,
                         TokenizerParts* parts) {
  ASSIGN_OR_RETURN(const JsonNode added, config.Get("added_tokens_decoder"));
  RETURN_IF_ERROR(ParseAddedTokens(added, parts));
  ASSIGN_OR_RETURN(const JsonNode prefix, config.Get("add_prefix_space"));
  if (prefix.value() == false && file.add_dummy_prefix) {
    return prefix.Unsupported("the model's own add_dummy_prefix is true; only that is followed");
  }
  ASSIGN_OR_RETURN(const bool legacy, config.Flag("legacy", true));
  parts->prefix_every_piece = legacy;
  for (const bool begin : {true, false}) {
    ASSIGN_OR_RETURN(const int32_t id,
                     NamedToken(config, begin ? "bos_token" : "eos_token",
                                begin ? file.begin_piece : file.end_piece, *parts));
    const absl::string_view name = begin ? "add_bos_token" : "add_eos_token";
    ASSIGN_OR_RETURN(const bool wanted, config.Flag(name, begin && id >= 0));
    if (!wanted) continue;
    if (id < 0) {
      ASSIGN_OR_RETURN(const JsonNode flag, config.Get(name));
      return flag.Invalid("the model has no such token");
    }
    (begin ? parts->sequence_template.before : parts->sequence_template.after).push_back(id);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadSentencePieceFolder(const std::string& model_path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(model_path));
  ASSIGN_OR_RETURN(const SentencePieceFile file, ParseSentencePieceFile(bytes, model_path));
  TokenizerParts parts;
  absl::StatusOr<SentencePieceModel> model = SentencePieceModel::Create(file);
  RETURN_IF_ERROR(In(model_path, model.status()));
  parts.sentence_pieces.emplace(*std::move(model));
  parts.decoding.byte_level = false;
  parts.decoding.metaspace = std::string(kSpacePiece);
  parts.decoding.byte_fallback = file.byte_fallback;
  if (file.remove_extra_whitespaces) {
    parts.decoding.strip_start = std::numeric_limits<int>::max();
  } else if (file.add_dummy_prefix) {
    parts.decoding.strip_start = 1;
  }
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    parts.written.push_back(piece.text);
    parts.ids.emplace(piece.text, static_cast<int32_t>(id));
    if (piece.kind == SentencePiece::Kind::kControl ||
        piece.kind == SentencePiece::Kind::kUnknown) {
      parts.special_ids.push_back(static_cast<int32_t>(id));
    }
  }
  const std::string folder = model_path.substr(0, model_path.find_last_of('/') + 1);
  const std::string config_path = absl::StrCat(folder, "tokenizer_config.json");
  ASSIGN_OR_RETURN(const nlohmann::json config, ReadObject(config_path));
  if (config.find("added_tokens_decoder") == config.end()) {
    const std::string added_path = absl::StrCat(folder, "added_tokens.json");
    ASSIGN_OR_RETURN(const nlohmann::json added, ReadObject(added_path));
    RETURN_IF_ERROR(In(added_path, ParseAddedTokenIds(JsonNode(&added, "$"), &parts)));
  }
  RETURN_IF_ERROR(In(config_path, ParseConfig(JsonNode(&config, "$"), file, &parts)));
  return parts;
}

}  // namespace unlearn
