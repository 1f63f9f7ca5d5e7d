#ifndef TOOLS_CLI_MANIFEST_VIEW_H_
#define TOOLS_CLI_MANIFEST_VIEW_H_

#include <string>

#include "proto/unlearn/v1/offset.pb.h"
#include "tools/cli/output.h"

namespace unlearn {

// {"version","active","problem","created_unix_seconds","alpha","objective","request_ids"}
Json SummaryJson(const v1::VersionSummary& summary);
// The same and everything else in the manifest but the probes of M's fingerprint.
Json ManifestJson(const v1::VersionSummary& summary);

// One line: "* 3  2026-01-31 12:00:00Z  alpha 1  2 requests", the star for the active version.
std::string SummaryLine(const v1::VersionSummary& summary);
// Several lines, each ended.
std::string ManifestDetails(const v1::VersionSummary& summary);

}  // namespace unlearn

#endif  // TOOLS_CLI_MANIFEST_VIEW_H_
