#include "tools/harness/server_trio.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {

std::string ServerTrio::store() const { return JoinPath(options_.work, "store"); }
std::string ServerTrio::store_key_file() const { return JoinPath(options_.work, "store.key"); }
std::string ServerTrio::state() const { return JoinPath(options_.work, "state"); }

absl::StatusOr<std::unique_ptr<ChildProcess>> ServerTrio::StartServer(
    const std::string& name, std::vector<std::string> arguments, std::string* address) {
  const std::string port_file = JoinPath(options_.work, name + ".port");
  const std::string log = JoinPath(options_.work, name + ".log");
  unlink(port_file.c_str());
  arguments.insert(arguments.end(), {"--listen=127.0.0.1:0", "--port_file=" + port_file});
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> server, ChildProcess::Start(arguments, log));
  ASSIGN_OR_RETURN(*address, WaitForPort(*server, port_file, log, absl::Minutes(3)));
  return server;
}

absl::StatusOr<std::unique_ptr<ServerTrio>> ServerTrio::Start(const Programs& programs,
                                                              const TrioOptions& options) {
  auto trio = std::unique_ptr<ServerTrio>(new ServerTrio(programs, options));
  RETURN_IF_ERROR(MakeFolders(options.work));
  std::vector<std::string> model = {programs.model_server, "--model=" + options.model};
  model.insert(model.end(), options.model_server_flags.begin(), options.model_server_flags.end());
  ASSIGN_OR_RETURN(trio->model_server_,
                   trio->StartServer("model_server", model, &trio->model_address_));
  RETURN_IF_ERROR(
      RunAndRead({programs.unlearn, "offset", "init", "--store", trio->store(), "--store_key_file",
                  trio->store_key_file(), "--upstream", "native:" + trio->model_address_, "--pair",
                  options.pair, "--alpha", absl::StrCat(options.alpha), "--json"})
          .status());
  std::vector<std::string> proxy = {programs.proxy, "--upstream=native:" + trio->model_address_,
                                    "--pair=" + options.pair, "--store=" + trio->store(),
                                    "--store_key_file=" + trio->store_key_file()};
  proxy.insert(proxy.end(), options.proxy_flags.begin(), options.proxy_flags.end());
  ASSIGN_OR_RETURN(trio->proxy_, trio->StartServer("proxy", proxy, &trio->proxy_address_));
  RETURN_IF_ERROR(trio->RestartTrainer());
  return trio;
}

absl::Status ServerTrio::RestartTrainer() {
  std::vector<std::string> trainer = {programs_.trainer,
                                      "--upstream=native:" + model_address_,
                                      "--pair=" + options_.pair,
                                      "--store=" + store(),
                                      "--store_key_file=" + store_key_file(),
                                      "--state=" + state(),
                                      "--proxy=" + proxy_address_,
                                      absl::StrCat("--alpha=", options_.alpha)};
  trainer.insert(trainer.end(), options_.trainer_flags.begin(), options_.trainer_flags.end());
  ASSIGN_OR_RETURN(trainer_, StartServer("trainer", trainer, &trainer_address_));
  return absl::OkStatus();
}

void ServerTrio::Stop() {
  for (auto* server : {&trainer_, &proxy_, &model_server_}) {
    if (*server != nullptr) (*server)->Stop();
    server->reset();
  }
}

}  // namespace unlearn
