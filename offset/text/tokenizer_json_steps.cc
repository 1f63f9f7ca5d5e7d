#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/text/tokenizer_json.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

// Sequences may hold sequences; nobody needs more levels than this.
constexpr int kMaxNesting = 8;
// One step calls the next, and each may make the text longer; real files have five at most.
constexpr size_t kMaxSteps = 32;
// Ids around a sequence: real templates have one or two.
constexpr size_t kMaxTemplateIds = 1024;

// Appends `node`, or the elements of the sequences in it, to `flat`.
absl::Status Flatten(const JsonNode& node, absl::string_view elements_name, int depth,
                     std::vector<JsonNode>* flat) {
  ASSIGN_OR_RETURN(const JsonNode type_node, node.Get("type"));
  ASSIGN_OR_RETURN(const std::string type, type_node.String());
  if (type != "Sequence") {
    if (flat->size() == kMaxSteps) {
      return node.Unsupported(absl::StrCat("there are more than ", kMaxSteps, " steps"));
    }
    flat->push_back(node);
    return absl::OkStatus();
  }
  if (depth == kMaxNesting) return node.Unsupported("sequences are nested too deeply");
  ASSIGN_OR_RETURN(const JsonNode list, node.Get(elements_name));
  ASSIGN_OR_RETURN(const std::vector<JsonNode> elements, list.Elements());
  for (const JsonNode& element : elements) {
    RETURN_IF_ERROR(Flatten(element, elements_name, depth + 1, flat));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<JsonNode>> Steps(const JsonNode& node, absl::string_view elements_name) {
  std::vector<JsonNode> flat;
  if (!node.IsNull()) RETURN_IF_ERROR(Flatten(node, elements_name, 0, &flat));
  return flat;
}

// The type's node of a step from Steps(), which has checked that it is a string.
JsonNode TypeOf(const JsonNode& step) { return *step.Get("type"); }

std::string EscapeForPattern(absl::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (absl::ascii_ispunct(c)) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

absl::StatusOr<Regex> CompileAt(const JsonNode& node, absl::string_view pattern) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  if (regex.ok()) return regex;
  return absl::Status(regex.status().code(),
                      absl::StrCat(node.path(), ": ", regex.status().message()));
}

absl::StatusOr<PreTokenizerStep> ParseSplit(const JsonNode& node) {
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
  ASSIGN_OR_RETURN(const JsonNode regex, pattern.Get("Regex"));
  ASSIGN_OR_RETURN(const JsonNode literal, pattern.Get("String"));
  if (!regex.IsNull()) {
    ASSIGN_OR_RETURN(const std::string text, regex.String());
    ASSIGN_OR_RETURN(step.pattern, CompileAt(regex, text));
  } else {
    ASSIGN_OR_RETURN(const std::string text, literal.String());
    ASSIGN_OR_RETURN(step.pattern, CompileAt(literal, EscapeForPattern(text)));
  }
  ASSIGN_OR_RETURN(const JsonNode behavior_node, node.Get("behavior"));
  ASSIGN_OR_RETURN(const std::string behavior, behavior_node.String());
  ASSIGN_OR_RETURN(const bool invert, node.Flag("invert", false));
  if (behavior == "Removed" && invert) {
    step.match = PreTokenizerStep::Match::kOnly;
  } else if (behavior == "MergedWithPrevious" && !invert) {
    step.match = PreTokenizerStep::Match::kEndsWord;
  } else if (behavior != "Isolated") {
    return behavior_node.Unsupported(
        "only Isolated, MergedWithPrevious, or Removed with invert, is supported");
  }
  return step;
}

// A literal pattern: {"String": "..."}.
absl::StatusOr<std::string> LiteralPattern(const JsonNode& node) {
  ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
  ASSIGN_OR_RETURN(const JsonNode literal, pattern.Get("String"));
  if (literal.IsNull()) return pattern.Unsupported("only a String is supported");
  ASSIGN_OR_RETURN(std::string text, literal.String());
  if (text.empty()) return literal.Invalid("must not be empty");
  return text;
}

absl::StatusOr<std::string> Text(const JsonNode& node, absl::string_view name) {
  ASSIGN_OR_RETURN(const JsonNode field, node.Get(name));
  return field.String();
}

absl::StatusOr<PreTokenizerStep> ParseMetaspace(const JsonNode& node) {
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(step.metaspace, Text(node, "replacement"));
  if (step.metaspace.empty() || NextUtf8(step.metaspace).length != step.metaspace.size()) {
    return node.Invalid("its replacement is not one character");
  }
  ASSIGN_OR_RETURN(const JsonNode scheme_node, node.Get("prepend_scheme"));
  if (scheme_node.IsNull()) {  // files of older versions
    ASSIGN_OR_RETURN(const bool prefix, node.Flag("add_prefix_space", true));
    step.prepend = prefix ? PreTokenizerStep::Prepend::kAlways : PreTokenizerStep::Prepend::kNever;
  } else {
    ASSIGN_OR_RETURN(const std::string scheme, scheme_node.String());
    if (scheme == "always") {
      step.prepend = PreTokenizerStep::Prepend::kAlways;
    } else if (scheme == "first") {
      step.prepend = PreTokenizerStep::Prepend::kFirst;
    } else if (scheme != "never") {
      return scheme_node.Invalid("must be always, first or never");
    }
  }
  ASSIGN_OR_RETURN(step.split_words, node.Flag("split", true));
  return step;
}

}  // namespace

absl::StatusOr<Normalizer> ParseNormalizer(const JsonNode& node) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> steps, Steps(node, "normalizers"));
  std::vector<NormalizerStep> result;
  for (const JsonNode& step : steps) {
    const JsonNode type_node = TypeOf(step);
    const std::string type = *type_node.String();
    if (type == "NFC") {
      result.push_back(NormalizationForm::kNfc);
    } else if (type == "NFD") {
      result.push_back(NormalizationForm::kNfd);
    } else if (type == "NFKC") {
      result.push_back(NormalizationForm::kNfkc);
    } else if (type == "NFKD") {
      result.push_back(NormalizationForm::kNfkd);
    } else if (type == "Replace") {
      ASSIGN_OR_RETURN(std::string pattern, LiteralPattern(step));
      ASSIGN_OR_RETURN(std::string content, Text(step, "content"));
      result.push_back(NormalizerStep::Replace(std::move(pattern), std::move(content)));
    } else if (type == "Prepend") {
      ASSIGN_OR_RETURN(std::string content, Text(step, "prepend"));
      result.push_back(NormalizerStep::Prepend(std::move(content)));
    } else {
      return type_node.Unsupported(
          "only NFC, NFD, NFKC, NFKD, Replace, Prepend and Sequence are supported");
    }
  }
  return Normalizer(std::move(result));
}

absl::StatusOr<PreTokenizer> ParsePreTokenizer(const JsonNode& node, bool* byte_level) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, Steps(node, "pretokenizers"));
  std::vector<PreTokenizerStep> steps;
  *byte_level = false;
  for (const JsonNode& current : nodes) {
    const JsonNode type_node = TypeOf(current);
    const std::string type = *type_node.String();
    if (*byte_level) {
      return type_node.Unsupported("nothing may follow ByteLevel, which rewrites the text");
    }
    PreTokenizerStep step;
    if (type == "Split") {
      ASSIGN_OR_RETURN(step, ParseSplit(current));
    } else if (type == "Digits") {
      ASSIGN_OR_RETURN(const bool individual, current.Flag("individual_digits", false));
      ASSIGN_OR_RETURN(step.pattern, CompileAt(current, individual ? "\\p{N}" : "\\p{N}+"));
    } else if (type == "ByteLevel") {
      *byte_level = true;
      ASSIGN_OR_RETURN(const JsonNode prefix, current.Get("add_prefix_space"));
      ASSIGN_OR_RETURN(step.add_prefix_space, prefix.Bool());
      ASSIGN_OR_RETURN(const bool use_regex, current.Flag("use_regex", true));
      if (use_regex) {
        ASSIGN_OR_RETURN(step.pattern, CompileAt(current, kGpt2Pattern));
      }
    } else if (type == "Metaspace") {
      ASSIGN_OR_RETURN(step, ParseMetaspace(current));
    } else {
      return type_node.Unsupported(
          "only Split, Digits, ByteLevel, Metaspace and Sequence are supported");
    }
    steps.push_back(std::move(step));
  }
  return PreTokenizer(std::move(steps));
}

absl::StatusOr<TokenDecoding> ParseDecoder(const JsonNode& node, bool byte_level) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> steps, Steps(node, "decoders"));
  TokenDecoding decoding;
  decoding.byte_level = byte_level;
  if (steps.empty()) return node.Unsupported("a decoder is needed");
  bool fused = false;
  for (const JsonNode& step : steps) {
    const JsonNode type_node = TypeOf(step);
    const std::string type = *type_node.String();
    if (byte_level) {
      if (type == "ByteLevel" && steps.size() == 1) continue;
      return type_node.Unsupported("only one ByteLevel decoder is supported with ByteLevel text");
    }
    // In this order: tokens with spaces again, bytes again, one text, its first space gone.
    if (type == "Replace" && decoding.metaspace.empty() && !decoding.byte_fallback && !fused) {
      ASSIGN_OR_RETURN(decoding.metaspace, LiteralPattern(step));
      ASSIGN_OR_RETURN(const std::string content, Text(step, "content"));
      if (content != " ") return step.Unsupported("only a space is supported as the content");
    } else if (type == "ByteFallback" && !decoding.byte_fallback && !fused) {
      decoding.byte_fallback = true;
    } else if (type == "Fuse" && !fused) {
      fused = true;
    } else if (type == "Strip" && fused && decoding.strip_start == 0) {
      ASSIGN_OR_RETURN(const std::string content, Text(step, "content"));
      ASSIGN_OR_RETURN(const JsonNode start, step.Get("start"));
      ASSIGN_OR_RETURN(const JsonNode stop, step.Get("stop"));
      ASSIGN_OR_RETURN(decoding.strip_start, start.Id());
      ASSIGN_OR_RETURN(const int32_t at_end, stop.Id());
      if (content != " " || at_end != 0) {
        return step.Unsupported("only spaces at the start are supported");
      }
    } else {
      return type_node.Unsupported("only Replace, ByteFallback, Fuse, Strip, in this order");
    }
  }
  return decoding;
}

absl::StatusOr<SequenceTemplate> ParsePostProcessor(const JsonNode& node) {
  ASSIGN_OR_RETURN(const std::vector<JsonNode> steps, Steps(node, "processors"));
  SequenceTemplate result;
  bool has_template = false;
  for (const JsonNode& step : steps) {
    const JsonNode type_node = TypeOf(step);
    const std::string type = *type_node.String();
    if (type == "ByteLevel") continue;  // adjusts offsets only
    if (type != "TemplateProcessing" || has_template) {
      return type_node.Unsupported("only ByteLevel and one TemplateProcessing are supported");
    }
    has_template = true;
    ASSIGN_OR_RETURN(const JsonNode tokens, step.Get("special_tokens"));
    ASSIGN_OR_RETURN(const JsonNode single, step.Get("single"));
    ASSIGN_OR_RETURN(const std::vector<JsonNode> pieces, single.Elements());
    bool seen_sequence = false;
    for (const JsonNode& piece : pieces) {
      ASSIGN_OR_RETURN(const JsonNode sequence, piece.Get("Sequence"));
      if (!sequence.IsNull()) {
        ASSIGN_OR_RETURN(const JsonNode name_node, sequence.Get("id"));
        ASSIGN_OR_RETURN(const std::string name, name_node.String());
        if (name != "A" || seen_sequence) {
          return sequence.Unsupported("the template must hold sequence A once");
        }
        seen_sequence = true;
        continue;
      }
      ASSIGN_OR_RETURN(const JsonNode special, piece.Get("SpecialToken"));
      if (special.IsNull()) return piece.Invalid("must hold Sequence or SpecialToken");
      ASSIGN_OR_RETURN(const JsonNode name_node, special.Get("id"));
      ASSIGN_OR_RETURN(const std::string name, name_node.String());
      ASSIGN_OR_RETURN(const JsonNode token, tokens.Get(name));
      if (token.IsNull()) return name_node.Invalid("is not among the special_tokens beside it");
      ASSIGN_OR_RETURN(const JsonNode ids, token.Get("ids"));
      ASSIGN_OR_RETURN(const std::vector<JsonNode> id_nodes, ids.Elements());
      if (result.before.size() + result.after.size() + id_nodes.size() > kMaxTemplateIds) {
        return piece.Unsupported(
            absl::StrCat("the template has more than ", kMaxTemplateIds, " ids"));
      }
      for (const JsonNode& id_node : id_nodes) {
        ASSIGN_OR_RETURN(const int32_t id, id_node.Id());
        (seen_sequence ? result.after : result.before).push_back(id);
      }
    }
    if (!seen_sequence) return single.Unsupported("the template must hold sequence A once");
  }
  return result;
}

}  // namespace unlearn
