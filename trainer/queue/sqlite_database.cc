#include "trainer/queue/sqlite_database.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr int kBusyTimeoutMilliseconds = 10000;

// The message is SQLite's text for the code, never sqlite3_errmsg of a constraint with values.
absl::Status SqliteStatus(sqlite3* database, int code, const std::string& path) {
  const int system_error = database == nullptr ? 0 : sqlite3_system_errno(database);
  const int extended = database == nullptr ? code : sqlite3_extended_errcode(database);
  std::string message =
      absl::StrCat("database ", path, ": ", sqlite3_errstr(code), " (SQLite code ", extended, ")");
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(message, "; free space on its disk"));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (system_error != 0) absl::StrAppend(&message, ": ", strerror(system_error));
      if (system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG) {
        return absl::ResourceExhaustedError(absl::StrCat(message, "; free space on its disk"));
      }
      return absl::InternalError(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(absl::StrCat(message, "; another process holds it"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return absl::PermissionDeniedError(message);
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(message);
    case SQLITE_TOOBIG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

SqliteStatement::SqliteStatement(sqlite3* database, sqlite3_stmt* statement, std::string origin)
    : database_(database), statement_(statement), origin_(std::move(origin)) {}

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      origin_(std::move(other.origin_)),
      bind_error_(other.bind_error_) {}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

void SqliteStatement::Note(int code) {
  if (code != SQLITE_OK && bind_error_ == SQLITE_OK) bind_error_ = code;
}

SqliteStatement& SqliteStatement::BindText(int index, absl::string_view text) {
  Note(sqlite3_bind_text64(statement_, index + 1, text.data() == nullptr ? "" : text.data(),
                           text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int index, absl::string_view bytes) {
  Note(sqlite3_bind_blob64(statement_, index + 1, bytes.data() == nullptr ? "" : bytes.data(),
                           bytes.size(), SQLITE_TRANSIENT));
  return *this;
}

SqliteStatement& SqliteStatement::BindInt(int index, int64_t value) {
  Note(sqlite3_bind_int64(statement_, index + 1, value));
  return *this;
}

SqliteStatement& SqliteStatement::BindDouble(int index, double value) {
  Note(sqlite3_bind_double(statement_, index + 1, value));
  return *this;
}

SqliteStatement& SqliteStatement::BindNull(int index) {
  Note(sqlite3_bind_null(statement_, index + 1));
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (bind_error_ != SQLITE_OK) return SqliteStatus(database_, bind_error_, origin_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(database_, code, origin_);
}

absl::Status SqliteStatement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

std::string SqliteStatement::Text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

int64_t SqliteStatement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

double SqliteStatement::Double(int column) const {
  return sqlite3_column_double(statement_, column);
}

SqliteDatabase::SqliteDatabase(sqlite3* database, std::string path)
    : database_(database), path_(std::move(path)) {}

SqliteDatabase::~SqliteDatabase() { sqlite3_close_v2(database_); }

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(const std::string& path) {
  // SQLite gives the log and the index the mode of the database file, which must be there first.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    const std::string message =
        absl::StrCat("cannot open the database ", path, ": ", strerror(errno));
    if (errno == ENOSPC || errno == EDQUOT) return absl::ResourceExhaustedError(message);
    if (errno == EACCES) return absl::PermissionDeniedError(message);
    return absl::InternalError(message);
  }
  const int mode_result = fchmod(fd, 0600);
  close(fd);
  if (mode_result != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot set mode 0600 on ", path, "; it must belong to the trainer's user"));
  }
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(raw, path));
  if (code != SQLITE_OK) return SqliteStatus(raw, code, path);
  RETURN_IF_ERROR(database->Configure());
  return database;
}

absl::Status SqliteDatabase::Configure() {
  sqlite3_extended_result_codes(database_, 1);
  sqlite3_busy_timeout(database_, kBusyTimeoutMilliseconds);
  // temp_store: sorting never spills to a file elsewhere.
  RETURN_IF_ERROR(
      Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; "
              "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"));
  // Some of these answer with what holds instead of failing.
  const struct {
    const char* pragma;
    const char* expected;
  } kSettings[] = {{"PRAGMA journal_mode", "wal"},
                   {"PRAGMA synchronous", "2"},
                   {"PRAGMA secure_delete", "1"},
                   {"PRAGMA foreign_keys", "1"}};
  for (const auto& setting : kSettings) {
    ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(setting.pragma));
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row || statement.Text(0) != setting.expected) {
      return absl::FailedPreconditionError(
          absl::StrCat("database ", path_, ": ", setting.pragma, " is not ", setting.expected,
                       "; its file system may lack what SQLite needs"));
    }
  }
  return absl::OkStatus();
}

absl::Status SqliteDatabase::Execute(const char* sql) {
  const int code = sqlite3_exec(database_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteStatus(database_, code, path_);
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v2(database_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(database_, code, path_);
  return SqliteStatement(database_, statement, path_);
}

int64_t SqliteDatabase::Changes() const { return sqlite3_changes64(database_); }

absl::Status SqliteDatabase::TruncateWriteAheadLog() {
  ASSIGN_OR_RETURN(SqliteStatement statement, Prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row || statement.Int(0) != 0) {
    return absl::UnavailableError(absl::StrCat(
        "database ", path_, ": another reader keeps its write-ahead log from being emptied"));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
