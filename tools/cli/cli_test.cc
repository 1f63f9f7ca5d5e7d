#include "tools/cli/cli.h"

#include <cstdlib>
#include <ostream>
#include <streambuf>

#include "gmock/gmock.h"
#include "tools/cli/cli_test_util.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

TEST(Cli, HelpGoesToStdoutAndNamesEveryCommand) {
  const CliResult result = RunInProcess({"--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  for (const char* command : {"generate", "score", "delete", "offset", "model", "tokenizer",
                              "people", "pretrain", "Exit codes"}) {
    EXPECT_THAT(result.out, HasSubstr(command));
  }
}

TEST(Cli, HelpOfEachCommandListsItsFlags) {
  const struct {
    std::vector<std::string> command;
    std::vector<std::string> flags;
  } cases[] = {
      {{"generate"},
       {"--prompt", "--token_ids", "--max_tokens", "--stop", "--server", "--tls_ca", "--tls_cert",
        "--tls_key", "--token_file", "--timeout", "--json"}},
      {{"score"}, {"--completion", "--append_eos", "--server", "--json"}},
      {{"delete", "submit"}, {"--forget", "--retain", "--idempotency_key", "--wait", "--trainer"}},
      {{"delete", "retry"}, {"REQUEST_ID", "--objective", "--wait"}},
      {{"delete", "get"}, {"REQUEST_ID", "--trainer", "--json"}},
      {{"offset", "init"}, {"--store", "--store_key_file", "--upstream", "--pair", "--alpha"}},
      {{"offset", "rollback"}, {"--store", "--server", "--reintroduce"}},
      {{"offset", "activate"}, {"VERSION", "--reintroduce"}},
      {{"model", "logits"}, {"--model", "--token_ids", "--dtype"}},
      {{"tokenizer", "train"}, {"--data", "--vocab_size", "--out", "--special_token"}},
      {{"people"}, {"--out", "--seed", "--forget"}},
      {{"pretrain"}, {"--data", "--config", "--out", "--tokenizer"}},
  };
  for (const auto& c : cases) {
    std::vector<std::string> arguments = c.command;
    arguments.push_back("--help");
    const CliResult result = RunInProcess(arguments);
    EXPECT_EQ(result.exit_code, 0);
    for (const std::string& flag : c.flags) EXPECT_THAT(result.out, HasSubstr(flag));
  }
  EXPECT_THAT(RunInProcess({"delete", "get", "--help"}).out,
              ::testing::Not(HasSubstr("--objective")));
}

TEST(Cli, WrongUsageIsExitCode2WithTheReasonOnStderrOnly) {
  const struct {
    std::vector<std::string> arguments;
    const char* reason;
  } cases[] = {
      {{}, "name a command: generate"},
      {{"forget"}, "forget"},
      {{"delete"}, "name a command: submit, get, list, watch, cancel, retry"},
      {{"delete", "submit"}, "--forget is required"},
      {{"delete", "get"}, "REQUEST_ID is required"},
      {{"generate"}, "--prompt"},
      {{"generate", "--prompt", "a", "--token_ids", "1"}, "--prompt"},
      {{"generate", "--prompt", "a", "--seed", "many"}, "--seed"},
      {{"generate", "--prompt", "a", "--timeout", "-1", "--server", "x:1"}, "--timeout"},
      {{"generate", "--prompt", "a", "--colour"}, "--colour"},
      {{"score", "--prompt", "a"}, "--completion"},
      {{"model", "logits", "--model", "m", "--token_ids", "1,x"}, "--token_ids"},
      {{"model", "logits", "--model", "m", "--token_ids", "1", "--dtype", "int4"}, "--dtype"},
      {{"offset", "activate"}, "VERSION"},
  };
  for (const auto& c : cases) {
    const CliResult result = RunInProcess(c.arguments);
    EXPECT_EQ(result.exit_code, 2) << c.reason;
    EXPECT_EQ(result.out, "") << c.reason;
    EXPECT_THAT(result.err, HasSubstr(c.reason));
    EXPECT_THAT(result.err, HasSubstr("--help"));
  }
}

TEST(Cli, MissingServerNamesFlagAndEnvironment) {
  const CliResult proxy = RunInProcess({"generate", "--prompt", "a"});
  EXPECT_EQ(proxy.exit_code, 2);
  EXPECT_THAT(proxy.err, HasSubstr("--server is missing"));
  EXPECT_THAT(proxy.err, HasSubstr("UNLEARN_SERVER"));
  const CliResult trainer = RunInProcess({"delete", "list"});
  EXPECT_EQ(trainer.exit_code, 2);
  EXPECT_THAT(trainer.err, HasSubstr("UNLEARN_TRAINER"));
}

TEST(Cli, UnreachableServerIsUnavailableWithItsAddress) {
  const CliResult result = RunInProcess(
      {"generate", "--prompt", "a", "--server", "127.0.0.1:1", "--timeout", "0.5", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE"));
  EXPECT_THAT(result.err, HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(result.err, HasSubstr("--server"));
}

TEST(Cli, TheEnvironmentIsADefaultThatAFlagOverrides) {
  setenv("UNLEARN_TRAINER", "127.0.0.1:1", 1);
  setenv("UNLEARN_TIMEOUT", "0.3", 1);
  EXPECT_THAT(RunInProcess({"delete", "list"}).err, HasSubstr("127.0.0.1:1 "));
  EXPECT_THAT(RunInProcess({"delete", "list", "--trainer", "127.0.0.1:2"}).err,
              HasSubstr("127.0.0.1:2 "));
  unsetenv("UNLEARN_TRAINER");
  unsetenv("UNLEARN_TIMEOUT");
}

TEST(Cli, BadConnectionFilesFailBeforeTheCall) {
  const CliResult missing = RunInProcess(
      {"generate", "--prompt", "a", "--server", "localhost:1", "--tls_ca", "/nonexistent/ca.pem"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("--tls_ca"));
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/ca.pem"));
  const CliResult address = RunInProcess({"generate", "--prompt", "a", "--server", "nowhere"});
  EXPECT_EQ(address.exit_code, 1);
  EXPECT_THAT(address.err, HasSubstr("nowhere"));
}

TEST(Cli, ModelCommandsReachTheirHandlersWithTheirOptions) {
  LogitsOptions logits;
  PretrainFlags pretrain;
  OffsetInitOptions init;
  ModelHandlers handlers;
  handlers.logits = [&](const LogitsOptions& options, Console&) {
    logits = options;
    return absl::OkStatus();
  };
  handlers.pretrain = [&](const PretrainFlags& options, Console&) {
    pretrain = options;
    return absl::NotFoundError("no such file");
  };
  handlers.offset_init = [&](const OffsetInitOptions& options, Console&) {
    init = options;
    return RefusedByGateError("no");
  };
  EXPECT_EQ(
      RunInProcess({"model", "logits", "--model", "m", "--token_ids", "5,6", "--json"}, handlers)
          .exit_code,
      0);
  EXPECT_EQ(logits.model, "m");
  EXPECT_EQ(logits.token_ids, (std::vector<int32_t>{5, 6}));
  EXPECT_TRUE(logits.json);
  RunInProcess({"model", "logits", "--model", "m", "--token_ids", "7", "8", "--dtype", "bf16"},
               handlers);
  EXPECT_EQ(logits.token_ids.back(), 8);
  EXPECT_EQ(logits.dtype, "bf16");

  const CliResult failed =
      RunInProcess({"pretrain", "--data", "a.jsonl", "b.txt", "--tokenizer", "t", "--config", "c",
                    "--out", "o", "--epochs", "2.5", "--training_data_name", "people"},
                   handlers);
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_EQ(failed.err, "unlearn: NOT_FOUND: no such file\n");
  EXPECT_EQ(pretrain.data, (std::vector<std::string>{"a.jsonl", "b.txt"}));
  EXPECT_EQ(pretrain.epochs, 2.5);
  EXPECT_EQ(pretrain.training_data_names, std::vector<std::string>{"people"});

  EXPECT_EQ(RunInProcess({"offset", "init", "--store", "s", "--store_key_file", "k", "--upstream",
                          "local:m", "--pair", "p", "--alpha", "1.5"},
                         handlers)
                .exit_code,
            3);
  EXPECT_EQ(init.upstream, "local:m");
  EXPECT_EQ(init.alpha, 1.5);
}

// A sink like a full disk.
class FullBuffer : public std::streambuf {
 protected:
  int overflow(int) override { return traits_type::eof(); }
  int sync() override { return -1; }
};

TEST(Cli, UnwritableStdoutIsAFailure) {
  ModelHandlers handlers;
  handlers.logits = [](const LogitsOptions&, Console& console) {
    PrintJson({{"logits", Json::array()}}, console);
    return absl::OkStatus();
  };
  FullBuffer full;
  std::ostream out(&full);
  std::ostringstream err;
  Console console{out, err};
  EXPECT_EQ(RunCli({"model", "logits", "--model", "m", "--token_ids", "1"}, console, handlers), 1);
  EXPECT_THAT(err.str(), HasSubstr("stdout"));
}

}  // namespace
}  // namespace unlearn
