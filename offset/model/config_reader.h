#ifndef OFFSET_MODEL_CONFIG_READER_H_
#define OFFSET_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace unlearn {

// One config.json with its path, so that each error names file and field; and which of its fields
// were read, so that one that nobody knows is refused instead of ignored.
class ConfigReader {
 public:
  using Json = nlohmann::json;

  // `json` outlives the reader.
  ConfigReader(const Json& json, std::string origin) : json_(json), origin_(std::move(origin)) {}

  // INVALID_ARGUMENT with file, field and message.
  absl::Status Error(absl::string_view field, absl::string_view message) const;

  absl::StatusOr<int64_t> Integer(const std::string& field, int64_t low, int64_t high);
  absl::StatusOr<int64_t> IntegerOr(const std::string& field, int64_t low, int64_t high,
                                    int64_t otherwise);
  // Positive numbers: 1e-30 to 1e30.
  absl::StatusOr<double> PositiveOr(const std::string& field, double otherwise);
  // Of an object inside; `path` is for errors.
  absl::StatusOr<double> Positive(const Json& parent, const std::string& field,
                                  const std::string& path) const;
  absl::StatusOr<bool> BoolOr(const std::string& field, bool otherwise);
  // A token id or several.
  absl::StatusOr<std::vector<int32_t>> Ids(const std::string& field, int64_t vocab_size);

  // UNIMPLEMENTED unless the field is absent, null, or one of `allowed`: anything else changes the
  // result.
  absl::Status Only(const std::string& field, const std::vector<Json>& allowed);

  // Neither absent nor null.
  bool Has(const std::string& field) const;
  bool Contains(const std::string& field) const { return json_.contains(field); }
  // Null when it is absent.
  const Json& Get(const std::string& field);
  // Counts the field as read: for this model it has no influence.
  void Ignore(const std::string& field) { seen_.insert(field); }

  // UNIMPLEMENTED names the first field that was not read and is not known to be without influence.
  absl::Status RefuseUnknown() const;

 private:
  const Json& json_;
  const std::string origin_;
  std::set<std::string> seen_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_CONFIG_READER_H_
