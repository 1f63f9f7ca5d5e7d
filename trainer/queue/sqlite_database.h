#ifndef TRAINER_QUEUE_SQLITE_DATABASE_H_
#define TRAINER_QUEUE_SQLITE_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace unlearn {

// One prepared statement; finalised when it dies, which must be before its database does.
// Parameters and columns count from 0. Bound bytes are copied.
class SqliteStatement {
 public:
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;
  ~SqliteStatement();

  SqliteStatement& BindText(int index, absl::string_view text);
  SqliteStatement& BindBlob(int index, absl::string_view bytes);
  SqliteStatement& BindInt(int index, int64_t value);
  SqliteStatement& BindDouble(int index, double value);
  SqliteStatement& BindNull(int index);

  // True when a row stands ready, false when there are no more. An error of an earlier Bind shows
  // here as well.
  absl::StatusOr<bool> Step();
  // Steps to the end, ignoring rows.
  absl::Status Run();

  std::string Text(int column) const;  // text or blob
  int64_t Int(int column) const;
  double Double(int column) const;

 private:
  friend class SqliteDatabase;
  SqliteStatement(sqlite3* database, sqlite3_stmt* statement, std::string origin);
  void Note(int code);

  sqlite3* database_;
  sqlite3_stmt* statement_;
  std::string origin_;  // the database's path
  int bind_error_ = 0;
};

// A SQLite file set up so that what was committed survives a power cut (WAL, synchronous FULL) and
// what was deleted is overwritten (secure_delete). Created with mode 0600. Not thread-safe.
//
// Errors: RESOURCE_EXHAUSTED for a full disk or quota, DATA_LOSS for a damaged file, UNAVAILABLE
// when another process holds it, else INTERNAL; all name the file, none the data.
class SqliteDatabase {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(const std::string& path);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  absl::Status Execute(const char* sql);
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);
  // Rows changed by the last INSERT, UPDATE or DELETE.
  int64_t Changes() const;
  // Moves the write-ahead log into the file and cuts it to length 0.
  absl::Status TruncateWriteAheadLog();

 private:
  SqliteDatabase(sqlite3* database, std::string path);
  absl::Status Configure();

  sqlite3* database_;
  const std::string path_;
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_SQLITE_DATABASE_H_
