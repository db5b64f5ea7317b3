#include "sequential/base/bytes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace sequential {
namespace {

using namespace std::string_literals;

TEST(Hex, WritesEveryByteAsTwoDigits) {
  EXPECT_EQ(to_hex(""), "");
  EXPECT_EQ(to_hex("\x00\x7f\x80\xff"s), "007f80ff");
}

TEST(Base64Url, MatchesTheVectorsOfRfc4648WithoutPadding) {
  EXPECT_EQ(to_base64url(""), "");
  EXPECT_EQ(to_base64url("f"), "Zg");
  EXPECT_EQ(to_base64url("fo"), "Zm8");
  EXPECT_EQ(to_base64url("foo"), "Zm9v");
  EXPECT_EQ(to_base64url("foob"), "Zm9vYg");
  EXPECT_EQ(to_base64url("fooba"), "Zm9vYmE");
  EXPECT_EQ(to_base64url("foobar"), "Zm9vYmFy");
  EXPECT_EQ(to_base64url("\xfb\xff\xfe"), "-__-");
}

TEST(Random, NeverRepeats) {
  EXPECT_EQ(random_bytes(0).size(), 0u);
  EXPECT_EQ(random_bytes(1'000).size(), 1'000u);
  std::set<std::string> texts;
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_TRUE(texts.insert(random_bytes(16)).second);
    EXPECT_TRUE(numbers.insert(random_u64()).second);
  }
}

TEST(Sha256, MatchesTheVectorsOfFips180) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HmacSha256, MatchesTheVectorsOfRfc4231) {
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  // A key longer than a block is hashed first.
  EXPECT_EQ(to_hex(hmac_sha256(std::string(131, '\xaa'),
                               "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(EqualConstantTime, ComparesEveryByteAndTheLength) {
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_TRUE(equal_constant_time("abc\0d"s, "abc\0d"s));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abc", "abcd"));
  EXPECT_FALSE(equal_constant_time("abc", ""));
}

// Journals keep these hashes: another value for the same bytes would make every replay divergent.
TEST(FastHash, NeverChangesForTheSameBytes) {
  EXPECT_EQ(fast_hash(""), (Hash128{0x99aa06d3014798d8, 0x6001c324468d497f}));
  EXPECT_EQ(fast_hash("abc"), fast_hash(std::string("abc")));
  EXPECT_NE(fast_hash("abc"), fast_hash("abd"));
  EXPECT_NE(fast_hash(std::string(300, 'a')), fast_hash(std::string(301, 'a')));
}

}  // namespace
}  // namespace sequential
