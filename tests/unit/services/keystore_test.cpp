// Secrets at rest: the envelope, the key file, the keystore on a real store, and what task code may
// do with it (F48).

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "keystore/envelope.h"
#include "keystore/key_file.h"
#include "keystore/names.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"
#include "sequential/storage/sqlite.h"
#include "temp_dir.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using test::call_and_wait;
using test::TempDir;
using test::Waiting;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
void write_file(const std::string& path, const std::string& text, mode_t mode = 0400) {
  ::unlink(path.c_str());
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}

// --- envelope ---------------------------------------------------------------------------------------

class EnvelopeTest : public ::testing::Test {
 protected:
  EnvelopeTest() { EXPECT_GE(sodium_init(), 0); }
  static constexpr unsigned char key_[kSealKeyBytes] = {1, 2, 3};
  const SealPlace place_{.name_space = "ns", .name = "name", .version = 7};
};

TEST_F(EnvelopeTest, OpensWhatItSealed) {
  for (const std::string& value : {std::string(), std::string("s3cret"), std::string(60'000, 'x'),
                                   std::string("\0\xFF\n", 3)}) {
    const std::string sealed = seal(key_, "kid", place_, value);
    EXPECT_EQ(unseal(key_, "kid", place_, sealed).value(), value);
    if (value.size() > 3) {
      EXPECT_EQ(sealed.find(value), std::string::npos);
    }
  }
}

TEST_F(EnvelopeTest, TheSameValueSealsDifferentlyEachTime) {
  EXPECT_NE(seal(key_, "kid", place_, "v"), seal(key_, "kid", place_, "v"));
}

TEST_F(EnvelopeTest, EveryAlteredByteIsNoticedWithOneSameMessage) {
  const std::string sealed = seal(key_, "kid", place_, "value");
  std::set<std::string> messages;
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string altered = sealed;
      altered[i] = static_cast<char>(altered[i] ^ flip);
      const auto opened = unseal(key_, "kid", place_, altered);
      ASSERT_TRUE(opened.has_error()) << i;
      EXPECT_EQ(opened.error().code, Errc::keystore_integrity);
      messages.insert(opened.error().message);
    }
  }
  for (std::size_t bytes = 0; bytes < sealed.size(); ++bytes) {
    const auto opened = unseal(key_, "kid", place_, sealed.substr(0, bytes));
    ASSERT_TRUE(opened.has_error()) << bytes;
    messages.insert(opened.error().message);
  }
  messages.insert(unseal(key_, "kid", place_, sealed + "x").error().message);
  messages.insert(unseal(key_, "other", place_, sealed).error().message);
  static constexpr unsigned char other[kSealKeyBytes] = {9};
  messages.insert(unseal(other, "kid", place_, sealed).error().message);
  EXPECT_EQ(messages.size(), 1u) << "no oracle in the message";
}

TEST_F(EnvelopeTest, OpensAtNoOtherPlace) {
  const std::string sealed = seal(key_, "kid", place_, "value");
  SealPlace tenant = place_, name_space = place_, name = place_, version = place_;
  tenant.tenant = "other";
  name_space.name_space = "n";
  name.name = "sname";
  version.version = 8;
  for (const SealPlace& each : {tenant, name_space, name, version}) {
    EXPECT_EQ(unseal(key_, "kid", each, sealed).error().code, Errc::keystore_integrity);
  }
  // Parts that run together to the same text are different places.
  SealPlace shifted = place_;
  shifted.name_space = "nsn";
  shifted.name = "ame";
  EXPECT_TRUE(unseal(key_, "kid", shifted, sealed).has_error());
}

// --- key file ---------------------------------------------------------------------------------------

class KeyFileTest : public ::testing::Test {
 protected:
  std::string fault() {
    const auto loaded = load_key_file(path_);
    EXPECT_TRUE(loaded.has_error());
    if (loaded.has_value()) return {};
    EXPECT_EQ(loaded.error().code, Errc::config_invalid) << loaded.error().message;
    EXPECT_NE(loaded.error().message.find(path_), std::string::npos);
    return loaded.error().message;
  }
  TempDir dir_;
  const std::string path_ = dir_.file("keystore.key");
};

TEST_F(KeyFileTest, IsCreatedOnceReadableByTheOwnerOnly) {
  ASSERT_TRUE(create_key_file(path_).has_value());
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
  const std::string text = read_file(path_);
  ASSERT_TRUE(create_key_file(path_).has_value());
  EXPECT_EQ(read_file(path_), text) << "an existing file is left alone";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1)
      << "no draft is left behind";
  const auto key = load_key_file(path_);
  ASSERT_TRUE(key.has_value()) << key.error().message;
  EXPECT_EQ(key.value().kid.size(), 16u);
  ASSERT_TRUE(create_key_file(dir_.file("second")).has_value());
  EXPECT_NE(read_file(dir_.file("second")), text) << "keys are random";
}

TEST_F(KeyFileTest, AMissingFileIsNotAnErrorOfItsOwn) {
  EXPECT_EQ(load_key_file(path_).error().code, Errc::not_found);
}

TEST_F(KeyFileTest, AFileThatOthersMayTouchIsRefused) {
  ASSERT_TRUE(create_key_file(path_).has_value());
  for (const mode_t mode : {0440, 0404, 0600 | 020, 0644, 0777, 0402}) {
    ::chmod(path_.c_str(), mode);
    EXPECT_NE(fault().find("chmod 0400"), std::string::npos) << std::oct << mode;
  }
  for (const mode_t mode : {0400, 0600}) {
    ::chmod(path_.c_str(), mode);
    EXPECT_TRUE(load_key_file(path_).has_value());
  }
}

TEST_F(KeyFileTest, WhatIsNoKeyFileIsRefused) {
  ASSERT_TRUE(create_key_file(path_).has_value());
  const std::string good = read_file(path_);
  std::vector<std::string> damaged = {"", "{}", "[]", "secret", std::string(10'000, 'x'),
                                      good + good};
  for (std::size_t bytes = 1; bytes + 2 < good.size(); bytes += 7) {
    damaged.push_back(good.substr(0, bytes));
  }
  std::string bad_digit = good;
  bad_digit[good.rfind('"') - 3] = 'g';
  damaged.push_back(bad_digit);
  for (const std::string& text : damaged) {
    write_file(path_, text);
    const std::string message = fault();
    EXPECT_EQ(message.find(good.substr(good.size() - 20, 10)), std::string::npos)
        << "a message holds part of the key";
  }
}

TEST_F(KeyFileTest, LinksFoldersAndPipesAreRefused) {
  ASSERT_TRUE(create_key_file(dir_.file("real")).has_value());
  ASSERT_EQ(::symlink(dir_.file("real").c_str(), path_.c_str()), 0);
  EXPECT_NE(fault().find("symbolic link"), std::string::npos);
  ::unlink(path_.c_str());
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  EXPECT_NE(fault().find("regular file"), std::string::npos);
  ::rmdir(path_.c_str());
  ASSERT_EQ(::mkfifo(path_.c_str(), 0400), 0);
  EXPECT_NE(fault().find("regular file"), std::string::npos);
}

TEST_F(KeyFileTest, AFolderThatIsMissingIsNamed) {
  const auto made = create_key_file(dir_.file("no/such/folder/key"));
  ASSERT_TRUE(made.has_error());
  EXPECT_EQ(made.error().code, Errc::config_invalid);
  EXPECT_NE(made.error().message.find("No such file"), std::string::npos);
}

// --- keystore ---------------------------------------------------------------------------------------

class KeystoreTest : public ::testing::Test {
 protected:
  KeystoreTest() {
    storage::SqliteOptions options;
    options.path = dir_.file("sequential.db");
    auto store = storage::open_sqlite(options, system_clock());
    EXPECT_TRUE(store.has_value()) << store.error().message;
    store_ = std::move(store).value();
    keystore_ = open();
  }
  std::shared_ptr<Keystore> open() {
    auto opened = open_keystore(*store_, key_file_);
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    return opened.has_value() ? std::move(opened).value() : nullptr;
  }
  Result<void> set(const std::string& name_space, const std::string& key,
                   const std::string& value) {
    Waiting<Result<void>> waiting;
    keystore_->set(name_space, key, value, waiting.take());
    return *waiting.wait();
  }
  Result<std::string> get(const std::string& name_space, const std::string& key) {
    Waiting<Result<std::string>> waiting;
    keystore_->get(name_space, key, waiting.take());
    return *waiting.wait();
  }
  storage::KeystoreEntry row(const std::string& name_space, const std::string& key) {
    Waiting<Result<storage::KeystoreEntry>> waiting;
    store_->keystore_get(name_space, key, waiting.take());
    return waiting.wait()->value();
  }
  // What somebody who can write the database does.
  void plant(const std::string& name_space, const std::string& key, const std::string& sealed) {
    Waiting<Result<std::int64_t>> waiting;
    store_->keystore_put(name_space, key, "kid", [sealed](std::int64_t) { return sealed; },
                         waiting.take());
    ASSERT_TRUE(waiting.wait()->has_value());
  }

  TempDir dir_;
  const std::string key_file_ = dir_.file("keystore.key");
  std::unique_ptr<storage::Store> store_;
  std::shared_ptr<Keystore> keystore_;
};

TEST_F(KeystoreTest, KeepsSecretsOverARestart) {
  ASSERT_TRUE(set("default", "K", "one").has_value());
  ASSERT_TRUE(set("default", "K", "two").has_value());
  ASSERT_TRUE(set("other", "K", "three").has_value());
  keystore_ = open();
  EXPECT_EQ(get("default", "K").value(), "two");
  EXPECT_EQ(get("other", "K").value(), "three");
  EXPECT_EQ(row("default", "K").sealed.find("two"), std::string::npos);
}

TEST_F(KeystoreTest, AMissingSecretSaysHowToSetIt) {
  const auto missing = get("default", "NOPE");
  EXPECT_EQ(missing.error().code, Errc::key_not_found);
  EXPECT_NE(missing.error().message.find("keystore set default NOPE"), std::string::npos);
}

TEST_F(KeystoreTest, ListsAndRemoves) {
  ASSERT_TRUE(set("a", "one", "1").has_value());
  ASSERT_TRUE(set("b", "two", "2").has_value());
  Waiting<Result<std::vector<storage::KeystoreEntry>>> listed;
  keystore_->list("", listed.take());
  const auto entries = listed.wait()->value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_TRUE(entries[0].sealed.empty());
  Waiting<Result<bool>> removed;
  keystore_->remove("a", "one", removed.take());
  EXPECT_TRUE(removed.wait()->value());
  EXPECT_EQ(get("a", "one").error().code, Errc::key_not_found);
}

TEST_F(KeystoreTest, RowsSwappedAlteredOrReplayedFailClosed) {
  ASSERT_TRUE(set("default", "A", "value of a").has_value());
  const std::string version_one = row("default", "A").sealed;
  ASSERT_TRUE(set("default", "B", "value of b").has_value());
  const std::string b = row("default", "B").sealed;

  plant("default", "A", b);  // another row's value
  EXPECT_EQ(get("default", "A").error().code, Errc::keystore_integrity);
  plant("default", "A", version_one);  // an older version's value
  const auto replayed = get("default", "A");
  EXPECT_EQ(replayed.error().code, Errc::keystore_integrity);
  plant("else", "B", b);  // another namespace
  EXPECT_EQ(get("else", "B").error().code, Errc::keystore_integrity);
  for (const std::string& sealed : {std::string(), std::string("x"), std::string(200, '\1')}) {
    plant("default", "A", sealed);
    const auto opened = get("default", "A");
    EXPECT_EQ(opened.error().code, Errc::keystore_integrity);
    EXPECT_EQ(opened.error().message, replayed.error().message);
  }
  EXPECT_EQ(get("default", "B").value(), "value of b");
}

TEST_F(KeystoreTest, AnotherKeyFileOpensNothing) {
  ASSERT_TRUE(set("default", "A", "value").has_value());
  ::unlink(key_file_.c_str());
  ASSERT_TRUE(create_key_file(key_file_).has_value());
  keystore_ = open();
  EXPECT_EQ(get("default", "A").error().code, Errc::keystore_integrity);
}

TEST_F(KeystoreTest, AMissingKeyFileIsNotReplacedWhileSecretsNeedIt) {
  ASSERT_TRUE(set("default", "A", "value").has_value());
  ::unlink(key_file_.c_str());
  const auto opened = open_keystore(*store_, key_file_);
  ASSERT_TRUE(opened.has_error());
  EXPECT_EQ(opened.error().code, Errc::config_invalid);
  EXPECT_NE(opened.error().message.find("restore the file"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(key_file_));
}

TEST_F(KeystoreTest, NamesAndSizesHaveLimits) {
  for (const std::string& bad :
       {std::string(), std::string("a/b"), std::string("a b"), std::string("\n"),
        std::string(129, 'a'), std::string("ä")}) {
    EXPECT_EQ(set("default", bad, "v").error().code, Errc::invalid_field);
    EXPECT_EQ(set(bad, "key", "v").error().code, Errc::invalid_field);
    EXPECT_EQ(get("default", bad).error().code, Errc::invalid_field);
  }
  EXPECT_TRUE(set("default", "max", std::string(64 * 1024, 'v')).has_value());
  EXPECT_EQ(set("default", "max", std::string(64 * 1024 + 1, 'v')).error().code,
            Errc::payload_too_large);
}

// --- what task code may do --------------------------------------------------------------------------

class KeystoreServiceTest : public KeystoreTest {
 protected:
  KeystoreServiceTest() { make({}); }
  void make(KeystoreServiceOptions options) {
    service_ = make_keystore_service(keystore_, std::move(options));
  }
  CallReply call(const std::string& method, const std::string& args) {
    return call_and_wait(*service_, method, args);
  }
  std::shared_ptr<Service> service_;
};

TEST_F(KeystoreServiceTest, ReadsOnlyTheAdminAddressByDefault) {
  ASSERT_TRUE(set("default", "GAPI_ADMIN_EMAIL", "admin@a.test").has_value());
  ASSERT_TRUE(set("default", "GAPI_KEY", "canary-secret").has_value());
  EXPECT_EQ(call("getKey", R"(["GAPI_ADMIN_EMAIL"])").result, "\"admin@a.test\"");
  const CallReply denied = call("getKey", R"(["GAPI_KEY"])");
  ASSERT_TRUE(denied.failed);
  EXPECT_EQ(denied.error.errc, Errc::forbidden);
  EXPECT_NE(denied.error.message.find("services.keystore.readable"), std::string::npos);
  EXPECT_NE(denied.error.message.find("\"default/GAPI_KEY\""), std::string::npos);
  EXPECT_EQ(denied.error.to_json("keystore", "getKey").find("canary"), std::string::npos);
}

TEST_F(KeystoreServiceTest, TakesEveryFormOfAName) {
  ASSERT_TRUE(set("default", "K", "1").has_value());
  ASSERT_TRUE(set("mine", "K", "2").has_value());
  make({.readable = {"default", "mine/K"}, .writable = false});
  for (const char* args : {R"(["K"])", R"(["default","K"])", R"([{"key":"K"}])",
                           R"([{"namespace":"default","key":"K"}])", R"("K")", R"({"key":"K"})"}) {
    EXPECT_EQ(call("getKey", args).result, "\"1\"") << args;
    EXPECT_EQ(call("hasKey", args).result, "true") << args;
  }
  EXPECT_EQ(call("getKey", R"(["mine","K"])").result, "\"2\"");
  EXPECT_EQ(call("getKey", R"(["mine","L"])").error.errc, Errc::forbidden);
  EXPECT_EQ(call("hasKey", R"(["mine","L"])").result, "false");
}

TEST_F(KeystoreServiceTest, RefusesArgumentsThatNameNothing) {
  for (const char* args : {"[]", "[1]", "[null]", R"(["a","b","c"])", R"([{}])", R"(["a/b"])",
                           R"([["K"]])", R"([{"key":5}])", "[\"\"]"}) {
    EXPECT_EQ(call("getKey", args).error.errc, Errc::invalid_arguments) << args;
    EXPECT_EQ(call("hasKey", args).error.errc, Errc::invalid_arguments) << args;
  }
}

TEST_F(KeystoreServiceTest, StoresOnlyWhereTheOperatorAllowsIt) {
  const CallReply denied = call("setKey", R"(["K","canary-secret"])");
  EXPECT_EQ(denied.error.errc, Errc::forbidden);
  EXPECT_NE(denied.error.message.find("services.keystore.writable"), std::string::npos);
  EXPECT_EQ(denied.error.message.find("canary"), std::string::npos);
  make({.readable = {"default", "n"}, .writable = true});
  EXPECT_EQ(call("setKey", R"(["K","v\u00e9"])").result, "true");
  EXPECT_EQ(get("default", "K").value(), "v\xC3\xA9");
  EXPECT_EQ(call("setKey", R"(["n","K","w"])").result, "true");
  EXPECT_EQ(call("setKey", R"([{"namespace":"n","key":"L","value":"x"}])").result, "true");
  EXPECT_EQ(call("getKey", R"(["n","L"])").result, "\"x\"");
  for (const char* args : {R"(["K"])", R"(["K",1])", R"(["a","b","c","d"])", R"([{"key":"K"}])"}) {
    EXPECT_EQ(call("setKey", args).error.errc, Errc::invalid_arguments) << args;
  }
}

TEST_F(KeystoreServiceTest, ListsNamesNeverValues) {
  ASSERT_TRUE(set("default", "B", "secret").has_value());
  ASSERT_TRUE(set("default", "A", "secret").has_value());
  ASSERT_TRUE(set("other", "C", "secret").has_value());
  EXPECT_EQ(call("listKeys", "[]").result, R"(["A","B"])");
  EXPECT_EQ(call("listKeys", R"(["other"])").result, R"(["C"])");
  EXPECT_EQ(call("listKeys", R"([{"namespace":"other"}])").result, R"(["C"])");
  EXPECT_EQ(call("listKeys", R"(["none"])").result, "[]");
  EXPECT_EQ(call("listKeys", "[5]").error.errc, Errc::invalid_arguments);
  EXPECT_EQ(call("listNamespaces", "[]").result, R"(["default","other"])");
}

TEST_F(KeystoreServiceTest, AMissingKeyIsAnErrorWithItsCode) {
  make({.readable = {"default"}, .writable = false});
  const CallReply reply = call("getKey", R"(["NOPE"])");
  EXPECT_EQ(reply.error.errc, Errc::key_not_found);
  EXPECT_FALSE(reply.error.retryable);
}

TEST_F(KeystoreServiceTest, AnAlteredValueIsAnErrorThatTellsNothing) {
  ASSERT_TRUE(set("default", "K", "canary-secret").has_value());
  plant("default", "K", row("default", "K").sealed + "x");
  make({.readable = {"default"}, .writable = false});
  const CallReply reply = call("getKey", R"(["K"])");
  EXPECT_EQ(reply.error.errc, Errc::keystore_integrity);
  EXPECT_EQ(reply.error.message.find("canary"), std::string::npos);
}

}  // namespace
}  // namespace sequential::services
