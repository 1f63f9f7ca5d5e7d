#ifndef OFFSET_BASE_SETTINGS_H_
#define OFFSET_BASE_SETTINGS_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace unlearn {

// Where flags get their values: the command line, else the environment variable UNLEARN_<FLAG> (the
// flag's name in upper case), else the file (protobuf text format), else the flag's own default.
//
// `config` says which flags there are: each of its fields (all `optional`, or repeated strings for
// a flag that is a comma-separated list) is named like a flag of the binary; its contents do not
// matter. Call once after absl::ParseCommandLine and before threads are started, with the value of
// --config (empty: $UNLEARN_CONFIG, if set; else no file).
//
// Nothing is changed unless everything is right. INVALID_ARGUMENT: file, line and column of what is
// malformed, unknown or not a value of that flag, or the environment variable; NOT_FOUND,
// PERMISSION_DENIED: the file.
absl::Status LoadSettings(const google::protobuf::Message& config, const std::string& config_file);

// For a test beside each main(): every field has a flag of its name. INTERNAL lists those without.
absl::Status CheckSettingsHaveFlags(const google::protobuf::Descriptor& config);

}  // namespace unlearn

#endif  // OFFSET_BASE_SETTINGS_H_
