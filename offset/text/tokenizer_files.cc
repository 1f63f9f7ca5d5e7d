#include "offset/text/tokenizer_files.h"

#include "absl/strings/match.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

absl::Status Copy(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const std::string contents, ReadFile(from));
  return WriteFileAtomically(to, contents, 0644);
}

}  // namespace

absl::Status CopyTokenizerFiles(const std::string& path, const std::string& folder) {
  std::string file = path;
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    if (FileExists(JoinPath(path, name))) file = JoinPath(path, name);
  }
  if (!absl::EndsWith(file, ".model")) return Copy(file, JoinPath(folder, "tokenizer.json"));
  const std::string beside = file.substr(0, file.find_last_of('/') + 1);
  for (const std::string name : {"tokenizer_config.json", "added_tokens.json"}) {
    if (FileExists(beside + name)) RETURN_IF_ERROR(Copy(beside + name, JoinPath(folder, name)));
  }
  return Copy(file, JoinPath(folder, "tokenizer.model"));
}

}  // namespace unlearn
