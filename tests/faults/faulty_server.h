#ifndef TESTS_FAULTS_FAULTY_SERVER_H_
#define TESTS_FAULTS_FAULTY_SERVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

enum class Fault {
  kNone,
  kFrozen,     // takes questions, answers none
  kSlow,       // 30 ms a step
  kNan,        // one logit is no number
  kWrongSize,  // rows of another vocabulary
  kHalf,       // the answer breaks off
  kBusy,       // too many requests; come back later
  kLoading,    // 503 or UNAVAILABLE; come back later
};

// A server of M that does wrong what a test says, of one of the remote kinds ("native", "kserve",
// "openai"). It stays at its address when it is stopped and started again. Its logits are a
// function of the tokens.
class FaultyServer {
 public:
  using Row = std::function<std::vector<float>(const std::vector<int32_t>& tokens)>;

  static std::unique_ptr<FaultyServer> Create(const std::string& kind, Row row);
  virtual ~FaultyServer() = default;

  virtual void Start() = 0;
  // As if it were killed: connections break.
  virtual void Stop() = 0;
  virtual std::string spec() const = 0;  // as --upstream has it
  std::string address() const;           // "127.0.0.1:PORT"

  // For the next questions; a number of them, or all.
  void Set(Fault fault, int times = 1 << 30);
  // Another M's logits, from now on. One that says nothing of its weights, where there is a choice.
  void SetAnother(bool another) { another_ = another; }
  int asked() const { return asked_; }

 protected:
  explicit FaultyServer(Row row) : row_(std::move(row)) {}

  // Of the next question.
  Fault Take();
  std::vector<float> RowOf(std::vector<int32_t> tokens) const;
  static constexpr absl::Duration kSlowStep = absl::Milliseconds(30);
  // What kBusy and kLoading ask for.
  static constexpr absl::Duration kComeBack = absl::Seconds(1);

  int port_ = 0;

 private:
  const Row row_;
  std::atomic<Fault> fault_ = Fault::kNone;
  std::atomic<int> times_ = 0;
  std::atomic<bool> another_ = false;
  std::atomic<int> asked_ = 0;
};

}  // namespace unlearn

#endif  // TESTS_FAULTS_FAULTY_SERVER_H_
