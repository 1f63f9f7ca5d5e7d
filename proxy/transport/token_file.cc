#include "proxy/transport/token_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

struct Line {
  int number;
  std::vector<std::string> words;
};

absl::StatusOr<std::vector<Line>> ReadLines(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const std::string message =
        absl::StrCat("--token_file: cannot open ", path, ": ", strerror(errno));
    return errno == EACCES ? absl::PermissionDeniedError(message) : absl::NotFoundError(message);
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("--token_file: ", path, " is not a file"));
  }
  if ((info.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("--token_file: %s has mode %04o, so that others can read or change the "
                        "tokens; run: chmod 600 %s",
                        path, info.st_mode & 07777, path));
  }
  absl::StatusOr<std::string> contents = ReadFile(path);
  if (!contents.ok()) {
    return absl::Status(contents.status().code(),
                        absl::StrCat("--token_file: ", contents.status().message()));
  }
  std::vector<Line> lines;
  int number = 0;
  for (const absl::string_view text : absl::StrSplit(*contents, '\n')) {
    ++number;
    std::vector<std::string> words =
        absl::StrSplit(text, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    for (const std::string& word : words) {
      if (!std::all_of(word.begin(), word.end(), absl::ascii_isgraph)) {
        return absl::InvalidArgumentError(
            absl::StrCat("--token_file: ", path, ", line ", number,
                         ": only printable ASCII characters can be sent as a token"));
      }
    }
    lines.push_back({number, std::move(words)});
  }
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--token_file: ", path, " holds no token; add a line such as: user <random characters>"));
  }
  return lines;
}

}  // namespace

absl::StatusOr<std::vector<RoleToken>> ReadTokenFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Line> lines, ReadLines(path));
  std::vector<RoleToken> tokens;
  for (const Line& line : lines) {
    const std::string where = absl::StrCat("--token_file: ", path, ", line ", line.number, ": ");
    if (line.words.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "expected `<role> <token>`, found ", line.words.size(), " word(s)"));
    }
    RoleToken entry;
    if (line.words[0] == "admin") {
      entry.role = Role::kAdmin;
    } else if (line.words[0] != "user") {
      // Not shown: it could be a token where the role was forgotten.
      return absl::InvalidArgumentError(
          absl::StrCat(where, "the first word must be a role, `user` or `admin`"));
    }
    entry.token = line.words[1];
    for (const RoleToken& earlier : tokens) {
      if (earlier.token == entry.token) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, "this token stands in an earlier line already"));
      }
    }
    tokens.push_back(std::move(entry));
  }
  return tokens;
}

absl::StatusOr<std::string> ReadClientToken(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Line> lines, ReadLines(path));
  if (lines.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token_file: ", path, " holds ", lines.size(),
                     " tokens; a client needs a file with only the one it shall use"));
  }
  const std::vector<std::string>& words = lines[0].words;
  if (words.size() > 2 || (words.size() == 2 && words[0] != "user" && words[0] != "admin")) {
    return absl::InvalidArgumentError(absl::StrCat("--token_file: ", path, ", line ",
                                                   lines[0].number,
                                                   ": expected `<token>` or `<role> <token>`"));
  }
  return words.back();
}

}  // namespace unlearn
