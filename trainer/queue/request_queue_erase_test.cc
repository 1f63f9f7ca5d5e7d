#include <sqlite3.h>
#include <unistd.h>

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/ledger/residue_scan.h"
#include "trainer/queue/request_queue.h"

namespace unlearn {
namespace {

constexpr char kCanary[] = "Jane \"Canary\" Rœ lives at 17 Nowhere Lane";
const std::vector<int32_t> kTokens = {15, 151000, 77, 90001, 4};

template <typename Integer>
std::string Bytes(const std::vector<int32_t>& ids) {
  const std::vector<Integer> wide(ids.begin(), ids.end());
  return std::string(reinterpret_cast<const char*>(wide.data()), wide.size() * sizeof(Integer));
}

class RequestQueueEraseTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/erase_", getpid());
    Reopen();
  }
  void TearDown() override {
    queue_.reset();
    ASSERT_TRUE(ShredFolder(folder_).ok());
  }
  void Reopen() {
    queue_.reset();
    auto queue = RequestQueue::Open(folder_);
    ASSERT_TRUE(queue.ok()) << queue.status();
    queue_ = *std::move(queue);
  }
  std::string SubmitCanary(int copies) {
    v1::SubmitRequest submit;
    for (int i = 0; i < copies; ++i) {
      v1::Item* item = submit.add_forget();
      item->set_question(absl::StrCat("Question ", i, "?"));
      item->set_answer(kCanary);
    }
    return *queue_->Submit(submit);
  }
  // The payload as it lies in the database.
  std::string Sealed(const std::string& id) {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(JoinPath(folder_, "queue.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* select = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(database, "SELECT sealed FROM payloads WHERE request_id = ?", -1,
                                 &select, nullptr),
              SQLITE_OK);
    sqlite3_bind_text(select, 1, id.c_str(), -1, SQLITE_TRANSIENT);
    std::string sealed;
    if (sqlite3_step(select) == SQLITE_ROW) {
      sealed.assign(static_cast<const char*>(sqlite3_column_blob(select, 0)),
                    sqlite3_column_bytes(select, 0));
    }
    sqlite3_finalize(select);
    sqlite3_close(database);
    return sealed;
  }
  // Whether any 24-byte piece of the sealed payload is found, page by page.
  int PiecesFound(const std::string& sealed) {
    std::vector<ResidueNeedle> needles;
    for (size_t at = 0; at + 24 <= sealed.size(); at += 512) {
      needles.push_back({sealed.substr(at, 24), {}});
    }
    std::set<size_t> found;
    const auto residues = FindResidue({folder_}, needles);
    EXPECT_TRUE(residues.ok()) << residues.status();
    for (const Residue& residue : *residues) found.insert(residue.needle);
    return static_cast<int>(found.size());
  }
  std::vector<Residue> Canaries() {
    return *FindResidue({folder_}, {{kCanary, {}}, {"", kTokens}});
  }

  std::string folder_;
  std::unique_ptr<RequestQueue> queue_;
};

TEST_F(RequestQueueEraseTest, TheScannerSeesWhatIsThereAndTheQueueNeverWritesIt) {
  // Put there in clear, everything is found: the scanner works on this folder.
  const std::string plain = JoinPath(folder_, "plain");
  for (const std::string& bytes :
       {std::string(kCanary),
        std::string("\"Jane \\\"Canary\\\" R\\u0153 lives at 17 Nowhere Lane"),
        absl::Base64Escape(absl::StrCat("x", kCanary)), Bytes<int32_t>(kTokens),
        Bytes<int64_t>(kTokens)}) {
    ASSERT_TRUE(WriteFileAtomically(plain, bytes).ok());
    EXPECT_EQ(Canaries().size(), 1);
  }
  ASSERT_TRUE(ShredFile(plain).ok());
  const std::string id = SubmitCanary(50);
  ASSERT_TRUE(queue_->WorkFolder(id).Write("tokens", Bytes<int64_t>(kTokens)).ok());
  EXPECT_TRUE(Canaries().empty());
}

TEST_F(RequestQueueEraseTest, NotEvenSealedBytesAreLeftInPagesOrLog) {
  const std::string kept = SubmitCanary(200);
  const std::string id = SubmitCanary(2000);
  const std::string sealed = Sealed(id);
  ASSERT_GT(sealed.size(), 100000);
  const int pieces = static_cast<int>((sealed.size() - 24) / 512) + 1;
  // Both in the log and, after a checkpoint of the reader above, perhaps in the file.
  EXPECT_GT(PiecesFound(sealed), pieces * 9 / 10);
  Reopen();  // closing moves the log into the file
  EXPECT_GT(PiecesFound(sealed), pieces * 9 / 10);
  ASSERT_TRUE(queue_->SetMessage(kept, "something newer in the log").ok());

  ASSERT_TRUE(queue_->Transition(id, v1::RECEIVED, v1::CANCELLED).ok());
  ASSERT_TRUE(queue_->Erase(id).ok());
  EXPECT_EQ(PiecesFound(sealed), 0);
  EXPECT_EQ(ReadFile(JoinPath(folder_, "queue.db-wal"))->size(), 0);
  EXPECT_FALSE(FileExists(JoinPath(folder_, absl::StrCat("keys/", id, ".key"))));
  EXPECT_FALSE(queue_->Payload(id).ok());
  ASSERT_TRUE(queue_->MarkErased(id).ok());
  EXPECT_TRUE(queue_->Get(id)->erased);
  EXPECT_EQ(queue_->Get(id)->request.state(), v1::CANCELLED);
  // The other request is as it was.
  EXPECT_EQ(queue_->Payload(kept)->forget_size(), 200);
  EXPECT_GT(PiecesFound(Sealed(kept)), 0);
}

TEST_F(RequestQueueEraseTest, OnlyEnforcedAndCancelledRequestsAreErased) {
  const std::string id = SubmitCanary(1);
  const auto refused = [&] {
    EXPECT_EQ(queue_->Erase(id).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(queue_->MarkErased(id).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(queue_->Payload(id).ok());
  };
  refused();
  v1::RequestState now = v1::RECEIVED;
  for (const v1::RequestState next : {v1::TRAINING, v1::EVALUATING, v1::PUBLISHED}) {
    ASSERT_TRUE(queue_->Transition(id, now, next).ok());
    now = next;
    refused();
  }
  ASSERT_TRUE(queue_->Transition(id, now, v1::ENFORCED).ok());
  EXPECT_EQ(queue_->AfterTraining()->size(), 1);
  // Marking comes after erasing, never instead of it.
  EXPECT_EQ(queue_->MarkErased(id).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(queue_->Erase(id).ok());
  ASSERT_TRUE(queue_->Erase(id).ok());
  Reopen();
  ASSERT_TRUE(queue_->MarkErased(id).ok());
  EXPECT_EQ(queue_->Get(id)->request.state(), v1::ERASED);
  EXPECT_TRUE(queue_->AfterTraining()->empty());
}

}  // namespace
}  // namespace unlearn
