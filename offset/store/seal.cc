#include "offset/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/file.h"
#include "offset/base/log.h"

namespace unlearn {
namespace {

constexpr size_t kKeySize = 32;
constexpr size_t kNonceSize = 12;  // the size GCM is specified for
constexpr size_t kTagSize = 16;
constexpr size_t kStep = 1 << 30;  // OpenSSL counts in int

// OpenSSL fails on these calls only when it is broken or out of memory: nothing may go on then, or
// something would be written unsealed.
void Require(bool good, absl::string_view what) {
  if (good) return;
  LogError("OpenSSL failed: ", what);
  std::abort();
}

void Wipe(std::string* secret) {
  if (!secret->empty()) OPENSSL_cleanse(&(*secret)[0], secret->size());
  secret->clear();
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string* text) { return reinterpret_cast<unsigned char*>(&(*text)[0]); }

// A key for one purpose, wiped when it goes out of scope.
class DerivedKey {
 public:
  // HKDF-SHA-256 (RFC 5869) without salt: the secret is uniformly random already.
  DerivedKey(absl::string_view secret, absl::string_view purpose) {
    Require(secret.size() == kKeySize, "the sealing key was moved away");
    std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
        EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr), EVP_PKEY_CTX_free);
    size_t size = sizeof(key_);
    Require(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1 &&
                EVP_PKEY_CTX_set_hkdf_md(context.get(), EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set1_hkdf_key(context.get(), Bytes(secret), secret.size()) == 1 &&
                EVP_PKEY_CTX_add1_hkdf_info(context.get(), Bytes(purpose), purpose.size()) == 1 &&
                EVP_PKEY_derive(context.get(), key_, &size) == 1 && size == sizeof(key_),
            "HKDF");
  }
  ~DerivedKey() { OPENSSL_cleanse(key_, sizeof(key_)); }
  DerivedKey(const DerivedKey&) = delete;
  DerivedKey& operator=(const DerivedKey&) = delete;
  const unsigned char* get() const { return key_; }

 private:
  unsigned char key_[kKeySize];
};

constexpr absl::string_view kEncrypt = "unlearn sealing v1: AES-256-GCM";
constexpr absl::string_view kAuthenticate = "unlearn sealing v1: HMAC-SHA-256";

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

// Feeds `in` in steps that fit an int; `out` null feeds additional authenticated data.
bool Feed(int (*update)(EVP_CIPHER_CTX*, unsigned char*, int*, const unsigned char*, int),
          EVP_CIPHER_CTX* cipher, absl::string_view in, unsigned char* out) {
  for (size_t done = 0; done < in.size();) {
    const int now = static_cast<int>(std::min(kStep, in.size() - done));
    int produced = 0;
    unsigned char* to = out == nullptr ? nullptr : out + done;
    if (update(cipher, to, &produced, Bytes(in) + done, now) != 1) return false;
    done += now;
  }
  return true;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::Status KeyFileError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string message =
      absl::StrCat("cannot ", what, " the key file ", path, ": ", strerror(error));
  if (error == ENOENT) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  if (error == EEXIST) {
    return absl::AlreadyExistsError(
        absl::StrCat("the key file ", path,
                     " exists already and is not overwritten, since what it sealed would be lost; "
                     "name another file, or move it away"));
  }
  return absl::InternalError(message);
}

}  // namespace

SealingKey::SealingKey(std::string secret) : secret_(std::move(secret)) {}

SealingKey::SealingKey(SealingKey&& other) noexcept : secret_(other.secret_) {
  Wipe(&other.secret_);
}

SealingKey& SealingKey::operator=(SealingKey&& other) noexcept {
  if (this != &other) {
    Wipe(&secret_);
    secret_.swap(other.secret_);
  }
  return *this;
}

SealingKey::~SealingKey() { Wipe(&secret_); }

SealingKey SealingKey::Generate() {
  std::string secret(kKeySize, '\0');
  Require(RAND_priv_bytes(Bytes(&secret), kKeySize) == 1, "the random source");
  return SealingKey(std::move(secret));
}

absl::StatusOr<SealingKey> SealingKey::Load(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return KeyFileError("open", path);
  struct stat info;
  char text[2 * kKeySize + 2];  // one more than a good file has
  ssize_t size = 0;
  absl::Status status;
  if (fstat(fd, &info) != 0) {
    status = KeyFileError("stat", path);
  } else if (!S_ISREG(info.st_mode)) {
    status =
        absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file; a key file is"));
  } else if ((info.st_mode & 077) != 0) {
    status = absl::PermissionDeniedError(absl::StrFormat(
        "the key file %s has mode %04o: group or others have access to it; run chmod 600 %s", path,
        info.st_mode & 07777, path));
  } else {
    while (size < static_cast<ssize_t>(sizeof(text))) {
      const ssize_t got = read(fd, text + size, sizeof(text) - size);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) status = KeyFileError("read", path);
      if (got <= 0) break;
      size += got;
    }
  }
  close(fd);
  std::string secret(kKeySize, '\0');
  bool good = size == 2 * kKeySize || (size == 2 * kKeySize + 1 && text[2 * kKeySize] == '\n');
  for (size_t i = 0; status.ok() && good && i < kKeySize; ++i) {
    const int high = HexValue(text[2 * i]);
    const int low = HexValue(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    secret[i] = static_cast<char>(high * 16 + low);
  }
  OPENSSL_cleanse(text, sizeof(text));
  if (status.ok() && !good) {
    status = absl::InvalidArgumentError(absl::StrCat(
        "the key file ", path, " (", info.st_size,
        " bytes) does not hold 64 hexadecimal digits and a newline; restore it from its backup: "
        "what was sealed with it cannot be read without it"));
  }
  if (!status.ok()) {
    Wipe(&secret);
    return status;
  }
  return SealingKey(std::move(secret));
}

absl::Status SealingKey::Save(const std::string& path) const {
  Require(secret_.size() == kKeySize, "the sealing key was moved away");
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return KeyFileError("create", path);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(2 * kKeySize + 1, '\n');
  for (size_t i = 0; i < kKeySize; ++i) {
    const unsigned char byte = secret_[i];
    text[2 * i] = kDigits[byte >> 4];
    text[2 * i + 1] = kDigits[byte & 15];
  }
  absl::Status status;
  for (size_t done = 0; status.ok() && done < text.size();) {
    const ssize_t written = write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      status = KeyFileError("write", path);
    } else {
      done += written;
    }
  }
  Wipe(&text);
  if (status.ok() && fchmod(fd, 0600) != 0) status = KeyFileError("chmod", path);
  if (status.ok() && fsync(fd) != 0) status = KeyFileError("sync", path);
  if (close(fd) != 0 && status.ok()) status = KeyFileError("close", path);
  if (!status.ok()) {
    unlink(path.c_str());
    return status;
  }
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return SyncFolder(".");
  return SyncFolder(slash == 0 ? "/" : path.substr(0, slash));
}

std::string SealingKey::Seal(absl::string_view plaintext, absl::string_view context) const {
  const DerivedKey key(secret_, kEncrypt);
  std::string sealed(kNonceSize + plaintext.size() + kTagSize, '\0');
  unsigned char* nonce = Bytes(&sealed);
  unsigned char* ciphertext = nonce + kNonceSize;
  unsigned char* tag = ciphertext + plaintext.size();
  Require(RAND_bytes(nonce, kNonceSize) == 1, "the random source");
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int produced = 0;
  Require(cipher != nullptr &&
              EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.get(), nonce) == 1 &&
              Feed(EVP_EncryptUpdate, cipher.get(), context, nullptr) &&
              Feed(EVP_EncryptUpdate, cipher.get(), plaintext, ciphertext) &&
              EVP_EncryptFinal_ex(cipher.get(), tag, &produced) == 1 && produced == 0 &&
              EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagSize, tag) == 1,
          "AES-256-GCM");
  return sealed;
}

absl::StatusOr<std::string> SealingKey::Open(absl::string_view sealed, absl::string_view context,
                                             const std::string& origin) const {
  if (sealed.size() < kNonceSize + kTagSize) {
    return absl::DataLossError(absl::StrCat(origin, " (", sealed.size(),
                                            " bytes) is too short to be sealed: it was truncated; "
                                            "restore it from a backup"));
  }
  const DerivedKey key(secret_, kEncrypt);
  const absl::string_view ciphertext =
      sealed.substr(kNonceSize, sealed.size() - kNonceSize - kTagSize);
  std::string tag(sealed.substr(sealed.size() - kTagSize));
  std::string plaintext(ciphertext.size(), '\0');
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  Require(cipher != nullptr && EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr,
                                                  key.get(), Bytes(sealed)) == 1,
          "AES-256-GCM");
  unsigned char rest[kTagSize];
  int produced = 0;
  if (!Feed(EVP_DecryptUpdate, cipher.get(), context, nullptr) ||
      !Feed(EVP_DecryptUpdate, cipher.get(), ciphertext, Bytes(&plaintext)) ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagSize, &tag[0]) != 1 ||
      EVP_DecryptFinal_ex(cipher.get(), rest, &produced) != 1) {
    Wipe(&plaintext);
    return absl::DataLossError(absl::StrCat(
        origin, " (", sealed.size(),
        " bytes) does not open: it was changed, stands in another file's place, or was sealed with "
        "another key; check the key file, or restore it from a backup"));
  }
  return plaintext;
}

std::string SealingKey::Mac(absl::string_view bytes) const {
  const DerivedKey key(secret_, kAuthenticate);
  unsigned char digest[32];
  size_t size = 0;
  Require(EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.get(), kKeySize, Bytes(bytes),
                    bytes.size(), digest, sizeof(digest), &size) != nullptr &&
              size == sizeof(digest),
          "HMAC");
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace unlearn
