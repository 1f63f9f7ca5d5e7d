#include "offset/base/settings.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/internal/private_handle_accessor.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

constexpr char kConfigVariable[] = "UNLEARN_CONFIG";

// A value for a flag, and where it was written.
struct Setting {
  absl::CommandLineFlag* flag;
  std::string value;
  std::string where;  // "FILE, line 3, column 7" or "environment variable UNLEARN_X"
};

// Abseil has no public way to ask; comparing values before and after parsing would miss a flag that
// was given with its default value.
bool GivenOnCommandLine(const absl::CommandLineFlag& flag) {
  return absl::flags_internal::PrivateHandleAccessor::IsSpecifiedOnCommandLine(flag);
}

// NOLINTNEXTLINE: getenv is safe before threads are started.
const char* Environment(const std::string& name) { return getenv(name.c_str()); }

std::string VariableOf(const absl::CommandLineFlag& flag) {
  return absl::StrCat("UNLEARN_", absl::AsciiStrToUpper(flag.Name()));
}

std::string Position(const std::string& file, int line, int column) {
  if (line < 0) return file;  // the file as a whole
  return absl::StrFormat("%s, line %d, column %d", file, line + 1, column + 1);
}

// Keeps the first error, in our own words for the place.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(std::string file) : file_(std::move(file)) {}
  void AddError(int line, int column, const std::string& message) override {
    if (message_.empty()) message_ = absl::StrCat(Position(file_, line, column), ": ", message);
  }
  const std::string& message() const { return message_; }

 private:
  const std::string file_;
  std::string message_;
};

// One value of a scalar field as a flag's text; `index` is -1 for a field that is not repeated.
absl::StatusOr<std::string> ValueText(const Message& message, const FieldDescriptor& field,
                                      int index) {
  const Reflection& reflection = *message.GetReflection();
  if (index >= 0) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      return reflection.GetRepeatedString(message, &field, index);
    }
  } else {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return reflection.GetString(message, &field);
      case FieldDescriptor::CPPTYPE_BOOL:
        return std::string(reflection.GetBool(message, &field) ? "true" : "false");
      case FieldDescriptor::CPPTYPE_INT32:
        return absl::StrCat(reflection.GetInt32(message, &field));
      case FieldDescriptor::CPPTYPE_INT64:
        return absl::StrCat(reflection.GetInt64(message, &field));
      case FieldDescriptor::CPPTYPE_UINT32:
        return absl::StrCat(reflection.GetUInt32(message, &field));
      case FieldDescriptor::CPPTYPE_UINT64:
        return absl::StrCat(reflection.GetUInt64(message, &field));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return absl::StrFormat("%.17g", reflection.GetDouble(message, &field));
      default:
        break;
    }
  }
  return absl::InternalError(
      absl::StrCat("field ", field.full_name(), " has a type that no flag has"));
}

absl::Status ReadConfigFile(const Message& prototype, const std::string& file,
                            std::vector<Setting>& settings) {
  absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) {
    return absl::Status(text.status().code(), absl::StrCat("--config: ", text.status().message()));
  }
  const std::unique_ptr<Message> message(prototype.New());
  FirstError error(file);
  TextFormat::ParseInfoTree places;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(&places);
  google::protobuf::io::ArrayInputStream stream(text->data(), text->size());
  if (!parser.Parse(&stream, message.get())) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", error.message()));
  }
  std::vector<const FieldDescriptor*> fields;
  message->GetReflection()->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    const TextFormat::ParseLocation place =
        places.GetLocation(field, field->is_repeated() ? 0 : -1);
    Setting setting;
    setting.where = absl::StrCat("--config: ", Position(file, place.line, place.column));
    setting.flag = absl::FindCommandLineFlag(field->name());
    if (setting.flag == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(setting.where, ": this program has no flag --", field->name()));
    }
    if (field->is_repeated()) {
      std::vector<std::string> parts;
      for (int i = 0; i < message->GetReflection()->FieldSize(*message, field); ++i) {
        ASSIGN_OR_RETURN(std::string part, ValueText(*message, *field, i));
        if (absl::StrContains(part, ',')) {
          const TextFormat::ParseLocation at = places.GetLocation(field, i);
          return absl::InvalidArgumentError(
              absl::StrCat("--config: ", Position(file, at.line, at.column), ": one value of ",
                           field->name(), " must not have a comma; repeat the field instead"));
        }
        parts.push_back(std::move(part));
      }
      setting.value = absl::StrJoin(parts, ",");
    } else {
      ASSIGN_OR_RETURN(setting.value, ValueText(*message, *field, -1));
    }
    settings.push_back(std::move(setting));
  }
  return absl::OkStatus();
}

// What the environment says about this program's own flags, Abseil's (--help, ...) left out.
std::vector<Setting> ReadEnvironment() {
  std::vector<Setting> settings;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (flag->IsRetired() || absl::StrContains(flag->Filename(), "absl/flags/")) continue;
    const std::string variable = VariableOf(*flag);
    if (variable == kConfigVariable) continue;  // named the file, which is read already
    if (const char* value = Environment(variable)) {
      settings.push_back({flag, value, absl::StrCat("environment variable ", variable)});
    }
  }
  std::sort(settings.begin(), settings.end(),
            [](const Setting& a, const Setting& b) { return a.where < b.where; });
  return settings;
}

// ParseFrom changes nothing when it fails, but says what is wrong.
absl::Status CheckValue(const Setting& setting) {
  if (absl::flags_internal::PrivateHandleAccessor::ValidateInputValue(*setting.flag,
                                                                      setting.value)) {
    return absl::OkStatus();
  }
  std::string error;
  setting.flag->ParseFrom(setting.value, &error);
  return absl::InvalidArgumentError(absl::StrCat(setting.where, ": ", error));
}

absl::Status Apply(const std::vector<Setting>& settings) {
  for (const Setting& setting : settings) {
    if (GivenOnCommandLine(*setting.flag)) continue;
    std::string error;
    if (!setting.flag->ParseFrom(setting.value, &error)) {
      return absl::InvalidArgumentError(absl::StrCat(setting.where, ": ", error));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadSettings(const Message& config, const std::string& config_file) {
  std::string file = config_file;
  if (file.empty()) {
    if (const char* from_environment = Environment(kConfigVariable)) file = from_environment;
  }
  std::vector<Setting> from_file;
  if (!file.empty()) RETURN_IF_ERROR(ReadConfigFile(config, file, from_file));
  const std::vector<Setting> from_environment = ReadEnvironment();
  for (const Setting& setting : from_file) RETURN_IF_ERROR(CheckValue(setting));
  for (const Setting& setting : from_environment) RETURN_IF_ERROR(CheckValue(setting));

  RETURN_IF_ERROR(Apply(from_file));
  return Apply(from_environment);  // later, so that it wins
}

absl::Status CheckSettingsHaveFlags(const Descriptor& config) {
  std::vector<std::string> missing;
  for (int i = 0; i < config.field_count(); ++i) {
    if (absl::FindCommandLineFlag(config.field(i)->name()) == nullptr) {
      missing.push_back(config.field(i)->name());
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("no flags for the fields of ", config.full_name(), ": ",
                                          absl::StrJoin(missing, ", ")));
}

}  // namespace unlearn
