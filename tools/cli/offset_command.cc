#include "tools/cli/offset_command.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "tools/cli/manifest_view.h"
#include "tools/cli/offset_source.h"

namespace unlearn {
namespace {

struct VersionOptions {
  OffsetSourceFlags source;
  std::optional<uint64_t> version;
  std::vector<std::string> reintroduce;  // activate, rollback
  bool json = false;
};

const v1::VersionSummary* FindVersion(const std::vector<v1::VersionSummary>& versions,
                                      std::optional<uint64_t> wanted) {
  for (const v1::VersionSummary& version : versions) {
    if (wanted.has_value() ? version.manifest().version() == *wanted : version.active()) {
      return &version;
    }
  }
  return nullptr;
}

absl::Status NoSuchVersion(std::optional<uint64_t> wanted) {
  return absl::NotFoundError(
      wanted.has_value()
          ? absl::StrCat("there is no version ", *wanted, "; see `unlearn offset list`")
          : "no version is active; name one, or make one so with `unlearn offset activate`");
}

absl::Status RunList(const VersionOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto source, OpenOffsetSource(options.source));
  ASSIGN_OR_RETURN(const auto versions, source->List());
  if (options.json) {
    Json rows = Json::array();
    for (const v1::VersionSummary& version : versions) rows.push_back(SummaryJson(version));
    PrintJson({{"versions", rows}}, console);
    return absl::OkStatus();
  }
  for (const v1::VersionSummary& version : versions) console.out << SummaryLine(version) << '\n';
  if (versions.empty()) console.out << "no versions\n";
  return absl::OkStatus();
}

absl::Status RunShow(const VersionOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto source, OpenOffsetSource(options.source));
  ASSIGN_OR_RETURN(const auto versions, source->List());
  const v1::VersionSummary* version = FindVersion(versions, options.version);
  if (version == nullptr) return NoSuchVersion(options.version);
  if (options.json) {
    PrintJson(ManifestJson(*version), console);
  } else {
    console.out << ManifestDetails(*version);
  }
  return absl::OkStatus();
}

absl::Status RunVerify(const VersionOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto store,
                   OpenStore(options.source.store, options.source.store_key_file));
  ASSIGN_OR_RETURN(std::vector<uint64_t> versions, store->ListVersions());
  if (options.version.has_value()) {
    if (std::find(versions.begin(), versions.end(), *options.version) == versions.end()) {
      return NoSuchVersion(options.version);
    }
    versions = {*options.version};
  }
  Json rows = Json::array();
  int problems = 0;
  for (const uint64_t version : versions) {
    const absl::Status status = store->Verify(version);
    if (!status.ok()) ++problems;
    rows.push_back({{"version", version}, {"problem", std::string(status.message())}});
    if (!options.json) {
      console.out << version << "  "
                  << (status.ok() ? "complete and verified"
                                  : absl::StrCat("PROBLEM: ", status.message()))
                  << '\n';
    }
  }
  const absl::Status audit = store->VerifyAudit();
  if (!audit.ok()) ++problems;
  if (options.json) {
    PrintJson({{"versions", rows}, {"audit_problem", std::string(audit.message())}}, console);
  } else {
    console.out << "audit log  "
                << (audit.ok() ? "complete and verified"
                               : absl::StrCat("PROBLEM: ", audit.message()))
                << '\n';
  }
  if (problems == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(options.source.store, ": ", problems,
                                          problems == 1 ? " problem" : " problems",
                                          "; restore the store from a backup"));
}

absl::Status ActivateAndPrint(OffsetSource& source, uint64_t version, const VersionOptions& options,
                              Console& console) {
  ASSIGN_OR_RETURN(const uint64_t previous, source.Activate(version, options.reintroduce));
  if (options.json) {
    PrintJson({{"active_version", version}, {"previous_version", previous}}, console);
  } else {
    console.out << "version " << version << " is active (before: " << previous << ")\n";
  }
  return absl::OkStatus();
}

absl::Status RunActivate(const VersionOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto source, OpenOffsetSource(options.source));
  return ActivateAndPrint(*source, *options.version, options, console);
}

absl::Status RunRollback(const VersionOptions& options, Console& console) {
  ASSIGN_OR_RETURN(const auto source, OpenOffsetSource(options.source));
  ASSIGN_OR_RETURN(const auto versions, source->List());
  const v1::VersionSummary* active = FindVersion(versions, std::nullopt);
  if (active == nullptr) return NoSuchVersion(std::nullopt);
  const v1::VersionSummary* target = nullptr;
  for (const v1::VersionSummary& version : versions) {
    const bool older = version.manifest().version() < active->manifest().version();
    if (!older || !version.problem().empty()) continue;
    if (target == nullptr || version.manifest().version() > target->manifest().version()) {
      target = &version;
    }
  }
  if (target == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is no usable version before ", active->manifest().version(), " to go back to"));
  }
  return ActivateAndPrint(*source, target->manifest().version(), options, console);
}

CLI::App* AddVersionCommand(CLI::App* parent, const std::string& name, const std::string& help,
                            std::shared_ptr<VersionOptions> options, Action* chosen,
                            absl::Status (*run)(const VersionOptions&, Console&)) {
  CLI::App* command = parent->add_subcommand(name, help);
  const bool store_only = run == RunVerify;
  CLI::Option* store =
      command->add_option("--store", options->source.store, "The folder of the versions");
  CLI::Option* key = command->add_option("--store_key_file", options->source.store_key_file,
                                         "The file with the store's key");
  if (store_only) {
    store->required();
    key->required();
  } else {
    AddConnectionFlags(command, Peer::kProxy, kCallTimeoutSeconds, &options->source.connection);
  }
  AddJsonFlag(command, &options->json);
  SetAction<VersionOptions>(command, options, chosen, run);
  return command;
}

void AddReintroduce(CLI::App* command, VersionOptions* options) {
  AddRepeated(command, "--reintroduce", &options->reintroduce,
              "A request that may be un-forgotten by this; may be given several times, is audited");
}

void AddInit(CLI::App* parent, Action* chosen, const ModelHandlers& handlers) {
  CLI::App* command = parent->add_subcommand(
      "init", "Makes a store with version 0, the empty stack, which serves before any deletion");
  auto options = std::make_shared<OffsetInitOptions>();
  command->add_option("--store", options->store, "The folder to make")->required();
  command
      ->add_option("--store_key_file", options->store_key_file,
                   "The file with the store's key; generated, mode 0600, when there is none")
      ->required();
  command
      ->add_option("--upstream", options->upstream,
                   "M, whose fingerprint is taken: local:FOLDER, native:HOST:PORT, "
                   "native:unix:PATH, kserve:HOST:PORT/MODEL or openai:URL")
      ->required();
  command->add_option("--pair", options->pair, "The folder of the pair's base")->required();
  command->add_option("--alpha", options->alpha, "Strength of the offset")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  const std::string group = "Upstream";
  command->add_option("--upstream_tls_ca", options->upstream_tls_ca, "PEM file; turns TLS on")
      ->group(group);
  command->add_option("--upstream_tls_cert", options->upstream_tls_cert, "PEM file")->group(group);
  command->add_option("--upstream_tls_key", options->upstream_tls_key, "PEM file")->group(group);
  command->add_option("--upstream_token_file", options->upstream_token_file, "File with a token")
      ->group(group);
  command
      ->add_option("--upstream_dtype", options->upstream_dtype,
                   "local: auto (the folder's own), fp32 or bf16")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--upstream_eos_ids", options->upstream_eos_ids,
                   "kserve, openai: ids of the tokens that end M's texts, with commas")
      ->delimiter(',')
      ->group(group);
  command
      ->add_option("--upstream_max_context", options->upstream_max_context,
                   "kserve, openai: tokens that M takes; 0: no limit but the pair's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
  AddJsonFlag(command, &options->json);
  SetAction<OffsetInitOptions>(command, options, chosen, handlers.offset_init);
}

}  // namespace

void AddOffsetCommands(CLI::App* root, Action* chosen, const ModelHandlers& handlers) {
  CLI::App* parent =
      root->add_subcommand("offset", "Offset versions: make a store, look, verify, activate");
  AddInit(parent, chosen, handlers);
  AddVersionCommand(parent, "list", "Prints all versions; a star marks the active one",
                    std::make_shared<VersionOptions>(), chosen, RunList);

  auto show = std::make_shared<VersionOptions>();
  AddVersionCommand(parent, "show", "Prints a version's manifest", show, chosen, RunShow)
      ->add_option("VERSION", show->version, "The active one where not given");

  auto verify = std::make_shared<VersionOptions>();
  AddVersionCommand(parent, "verify",
                    "Reads and authenticates every file of the versions, and the audit log", verify,
                    chosen, RunVerify)
      ->add_option("VERSION", verify->version, "All where not given");

  auto activate = std::make_shared<VersionOptions>();
  CLI::App* activate_command =
      AddVersionCommand(parent, "activate",
                        "Makes a version the active one, for every proxy of the store; refused "
                        "when it lacks a request that is enforced now",
                        activate, chosen, RunActivate);
  activate_command->add_option("VERSION", activate->version, "The version")->required();
  AddReintroduce(activate_command, activate.get());

  auto rollback = std::make_shared<VersionOptions>();
  CLI::App* rollback_command = AddVersionCommand(
      parent, "rollback", "Activates the version before the active one, by the rules of `activate`",
      rollback, chosen, RunRollback);
  AddReintroduce(rollback_command, rollback.get());
}

}  // namespace unlearn
