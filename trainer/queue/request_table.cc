#include "trainer/queue/request_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr int kSchemaVersion = 1;

// Payloads stand in a table of their own, so that reading a request never touches its text.
constexpr char kSchema[] = R"sql(
BEGIN IMMEDIATE;
CREATE TABLE requests (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  state INTEGER NOT NULL,
  received_unix_seconds INTEGER NOT NULL,
  updated_unix_seconds INTEGER NOT NULL,
  forget_items INTEGER NOT NULL,
  retain_items INTEGER NOT NULL,
  settings BLOB NOT NULL,
  idempotency_mac TEXT UNIQUE,
  step INTEGER NOT NULL DEFAULT 0,
  steps INTEGER NOT NULL DEFAULT 0,
  loss REAL NOT NULL DEFAULT 0,
  offset_version INTEGER NOT NULL DEFAULT 0,
  scores BLOB NOT NULL DEFAULT x'',
  message TEXT NOT NULL DEFAULT '',
  publishing INTEGER NOT NULL DEFAULT 0,
  erased INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE payloads (
  request_id TEXT PRIMARY KEY REFERENCES requests (request_id),
  sealed BLOB NOT NULL
) STRICT;
PRAGMA user_version = 1;
COMMIT;
)sql";

constexpr char kColumns[] =
    "request_id, name, state, received_unix_seconds, updated_unix_seconds, forget_items, "
    "retain_items, settings, step, steps, loss, offset_version, scores, message, publishing, "
    "erased";

int64_t NowSeconds() { return absl::ToUnixSeconds(absl::Now()); }

absl::Status NotFound(const std::string& id) {
  return absl::NotFoundError(
      absl::StrCat("there is no deletion request '", id, "'; List shows those there are"));
}

// The map alone, in a message that carries nothing else.
std::string SerialiseScores(const v1::DeletionRequest& request) {
  v1::DeletionRequest carrier;
  *carrier.mutable_scores() = request.scores();
  return carrier.SerializeAsString();
}

absl::StatusOr<QueuedRequest> FromRow(const SqliteStatement& row, const std::string& path) {
  QueuedRequest queued;
  v1::DeletionRequest& request = queued.request;
  v1::DeletionRequest carrier;
  if (!carrier.ParseFromString(row.Text(12)) ||
      !request.mutable_settings()->ParseFromString(row.Text(7))) {
    return absl::DataLossError(absl::StrCat(path, ": request ", row.Text(0), " is damaged"));
  }
  *request.mutable_scores() = carrier.scores();
  request.set_request_id(row.Text(0));
  request.set_name(row.Text(1));
  request.set_state(static_cast<v1::RequestState>(row.Int(2)));
  request.set_received_unix_seconds(row.Int(3));
  request.set_updated_unix_seconds(row.Int(4));
  request.set_forget_items(row.Int(5));
  request.set_retain_items(row.Int(6));
  request.set_step(row.Int(8));
  request.set_steps(row.Int(9));
  request.set_loss(row.Double(10));
  request.set_offset_version(row.Int(11));
  request.set_message(row.Text(13));
  queued.publishing = row.Int(14) != 0;
  queued.erased = row.Int(15) != 0;
  return queued;
}

}  // namespace

RequestTable::RequestTable(std::unique_ptr<SqliteDatabase> database, std::string path)
    : path_(std::move(path)), database_(std::move(database)) {}

absl::StatusOr<std::unique_ptr<RequestTable>> RequestTable::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database, SqliteDatabase::Open(path));
  int64_t version = 0;
  {
    ASSIGN_OR_RETURN(SqliteStatement statement, database->Prepare("PRAGMA user_version"));
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (row) version = statement.Int(0);
  }
  if (version == 0) {
    const absl::Status status = database->Execute(kSchema);
    if (!status.ok()) {
      database->Execute("ROLLBACK").IgnoreError();
      return status;
    }
  } else if (version != kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " (--state) has schema version ", version, ", this program knows ",
                     kSchemaVersion, "; use the program that wrote it, or a newer one"));
  }
  return std::unique_ptr<RequestTable>(new RequestTable(std::move(database), path));
}

absl::Status RequestTable::Insert(const std::string& id, const std::string& idempotency_mac,
                                  const std::string& sealed_payload,
                                  const v1::SubmitRequest& submit) {
  const auto insert = [&]() -> absl::Status {
    const int64_t now = NowSeconds();
    {
      ASSIGN_OR_RETURN(
          SqliteStatement row,
          database_->Prepare(
              "INSERT INTO requests (request_id, name, state, received_unix_seconds, "
              "updated_unix_seconds, forget_items, retain_items, settings, idempotency_mac) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
      row.BindText(0, id).BindText(1, submit.name()).BindInt(2, v1::RECEIVED);
      row.BindInt(3, now).BindInt(4, now).BindInt(5, submit.forget_size());
      row.BindInt(6, submit.retain_size()).BindBlob(7, submit.settings().SerializeAsString());
      if (idempotency_mac.empty()) {
        row.BindNull(8);
      } else {
        row.BindText(8, idempotency_mac);
      }
      RETURN_IF_ERROR(row.Run());
    }
    ASSIGN_OR_RETURN(SqliteStatement payload,
                     database_->Prepare("INSERT INTO payloads (request_id, sealed) VALUES (?, ?)"));
    payload.BindText(0, id).BindBlob(1, sealed_payload);
    return payload.Run();
  };
  RETURN_IF_ERROR(database_->Execute("BEGIN IMMEDIATE"));
  absl::Status status = insert();
  if (status.ok()) status = database_->Execute("COMMIT");
  // SQLite has rolled back by itself after some errors; ROLLBACK then fails harmlessly.
  if (!status.ok()) database_->Execute("ROLLBACK").IgnoreError();
  return status;
}

absl::StatusOr<std::vector<QueuedRequest>> RequestTable::Select(
    const std::string& rest, const std::string& parameter) const {
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database_->Prepare(absl::StrCat("SELECT ", kColumns, " FROM requests ", rest)));
  if (!parameter.empty()) row.BindText(0, parameter);
  std::vector<QueuedRequest> found;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return found;
    ASSIGN_OR_RETURN(QueuedRequest queued, FromRow(row, path_));
    found.push_back(std::move(queued));
  }
}

absl::StatusOr<QueuedRequest> RequestTable::Get(const std::string& id) const {
  if (id.empty()) return NotFound(id);
  ASSIGN_OR_RETURN(std::vector<QueuedRequest> found, Select("WHERE request_id = ?", id));
  if (found.empty()) return NotFound(id);
  return std::move(found.front());
}

absl::StatusOr<std::vector<QueuedRequest>> RequestTable::All() const {
  return Select("ORDER BY sequence", "");
}

absl::StatusOr<absl::optional<QueuedRequest>> RequestTable::OldestToTrain() const {
  ASSIGN_OR_RETURN(std::vector<QueuedRequest> found,
                   Select(absl::StrCat("WHERE state IN (", v1::RECEIVED, ", ", v1::TRAINING, ", ",
                                       v1::EVALUATING, ") ORDER BY sequence LIMIT 1"),
                          ""));
  if (found.empty()) return absl::optional<QueuedRequest>();
  return absl::optional<QueuedRequest>(std::move(found.front()));
}

absl::StatusOr<std::vector<QueuedRequest>> RequestTable::AfterTraining() const {
  return Select(absl::StrCat("WHERE state IN (", v1::PUBLISHED, ", ", v1::ENFORCED,
                             ") OR (state = ", v1::CANCELLED, " AND erased = 0) ORDER BY sequence"),
                "");
}

absl::StatusOr<absl::optional<std::string>> RequestTable::FindByIdempotencyMac(
    const std::string& mac) const {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_->Prepare("SELECT request_id FROM requests WHERE idempotency_mac = ?"));
  select.BindText(0, mac);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return absl::optional<std::string>();
  return absl::optional<std::string>(select.Text(0));
}

absl::Status RequestTable::Update(const QueuedRequest& queued) {
  const v1::DeletionRequest& request = queued.request;
  ASSIGN_OR_RETURN(
      SqliteStatement update,
      database_->Prepare(
          "UPDATE requests SET state = ?, message = ?, settings = ?, step = ?, steps = ?, "
          "loss = ?, offset_version = ?, scores = ?, publishing = ?, erased = ?, "
          "updated_unix_seconds = ? WHERE request_id = ?"));
  update.BindInt(0, request.state()).BindText(1, request.message());
  update.BindBlob(2, request.settings().SerializeAsString());
  update.BindInt(3, request.step()).BindInt(4, request.steps()).BindDouble(5, request.loss());
  update.BindInt(6, static_cast<int64_t>(request.offset_version()));
  update.BindBlob(7, SerialiseScores(request)).BindInt(8, queued.publishing);
  update.BindInt(9, queued.erased).BindInt(10, NowSeconds()).BindText(11, request.request_id());
  RETURN_IF_ERROR(update.Run());
  return database_->Changes() == 1 ? absl::OkStatus() : NotFound(request.request_id());
}

absl::StatusOr<std::string> RequestTable::SealedPayload(const std::string& id) const {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_->Prepare("SELECT sealed FROM payloads WHERE request_id = ?"));
  select.BindText(0, id);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return absl::NotFoundError(absl::StrCat("the text of request ", id, " is erased"));
  return select.Text(0);
}

absl::Status RequestTable::DeletePayload(const std::string& id) {
  {
    // secure_delete overwrites the freed pages with zeros.
    ASSIGN_OR_RETURN(SqliteStatement remove,
                     database_->Prepare("DELETE FROM payloads WHERE request_id = ?"));
    remove.BindText(0, id);
    RETURN_IF_ERROR(remove.Run());
  }
  return database_->TruncateWriteAheadLog();
}

}  // namespace unlearn
