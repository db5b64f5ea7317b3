#include "chain/signature.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "chain/chain_client.h"

namespace sequential::server {
namespace {

class HandClock final : public Clock {
 public:
  WallTime now() const override { return {now_ms}; }
  MonoTime monotonic() const override { return MonoTime{} + Millis{now_ms}; }
  std::int64_t now_ms = 1'700'000'000'000;
};

class ChainSignature : public ::testing::Test {
 protected:
  HandClock clock_;
  const ChainKey key_{"k1", std::string(32, 's')};
  ChainSigner signer_{key_, clock_};
  const std::string body_ = "{\"stackRunId\":1}";
};

TEST_F(ChainSignature, ASignedBodyVerifiesOnceAndOnlyAsItIs) {
  const auto header = signer_.sign(body_);
  EXPECT_TRUE(signer_.verify(header, "{\"stackRunId\":2}").has_error());
  EXPECT_TRUE(signer_.verify(header, body_).has_value());
  EXPECT_TRUE(signer_.verify(header, body_).has_error());
}

TEST_F(ChainSignature, AnyAlteredByteOfTheHeaderIsRefused) {
  const auto header = signer_.sign(body_);
  for (std::size_t i = 0; i < header.size(); ++i) {
    auto altered = header;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_TRUE(signer_.verify(altered, body_).has_error()) << i;
    EXPECT_TRUE(signer_.verify(header.substr(0, i), body_).has_error()) << i;
  }
}

TEST_F(ChainSignature, ASignatureIsGoodForAMinuteEitherWay) {
  for (const std::int64_t skew : {-60'001, -60'000, 60'000, 60'001}) {
    const auto header = signer_.sign(body_);
    clock_.now_ms += skew;
    EXPECT_EQ(signer_.verify(header, body_).has_value(), std::abs(skew) <= 60'000) << skew;
    clock_.now_ms -= skew;
  }
}

TEST_F(ChainSignature, AClockThatDiffersIsCountedWithItsSignAndOtherRefusalsAreNot) {
  HandClock theirs;
  ChainSigner other(key_, theirs);
  for (const std::int64_t ahead : {7'200'000, -600'000}) {
    theirs.now_ms = clock_.now_ms + ahead;
    EXPECT_EQ(signer_.verify(other.sign(body_), body_).error().code, Errc::unauthorized);
    EXPECT_EQ(signer_.stats().last_skew_ms, ahead);
  }
  EXPECT_TRUE(signer_.verify("v1,k1,0,n,00", body_).has_error());
  EXPECT_EQ(signer_.stats().skewed, 2);
  EXPECT_EQ(signer_.stats().refused, 3);
  theirs.now_ms = clock_.now_ms + 59'000;
  EXPECT_TRUE(signer_.verify(other.sign(body_), body_).has_value());
  EXPECT_EQ(signer_.stats().refused, 3);
}

TEST_F(ChainSignature, AnotherKeyIsRefused) {
  ChainSigner other({"k1", std::string(32, 't')}, clock_);
  EXPECT_TRUE(signer_.verify(other.sign(body_), body_).has_error());
}

TEST(ChainKeyFile, IsMadeUnreadableToOthersAndReadBack) {
  char folder[] = "/tmp/chain-key-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/sub/chain.key";
  const auto made = load_chain_key(path);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0400u);
  EXPECT_EQ(load_chain_key(path).value().secret, made.value().secret);
  ::chmod(path.c_str(), 0644);
  EXPECT_EQ(load_chain_key(path).error().code, Errc::config_invalid);
  std::filesystem::remove_all(folder);
}

TEST(ChainUrl, TakesHostAndPortOnly) {
  EXPECT_EQ(parse_chain_url("http://lb:8080").value().port, "8080");
  EXPECT_EQ(parse_chain_url("http://lb/").value().port, "80");
  for (const char* bad : {"", "lb:80", "https://lb", "http://", "http://lb/path", "http://u@lb"}) {
    EXPECT_TRUE(parse_chain_url(bad).has_error()) << bad;
  }
}

}  // namespace
}  // namespace sequential::server
