// Encoding is canonical (one message, one frame), and decoding takes nothing else.

#include "sequential/engine/protocol.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>

#include "protocol_samples.h"

namespace sequential::engine::protocol {
namespace {

constexpr std::uint32_t kSeeds = 300;

std::string_view body(const std::string& frame) {
  return std::string_view(frame).substr(kFrameHeadBytes);
}
std::string put_u32(std::string frame, std::size_t at, std::uint32_t value) {
  std::memcpy(frame.data() + at, &value, sizeof value);
  return frame;
}
// What the decoder takes encodes to the very bytes it took.
void expect_error_or_canonical(std::string_view frame) {
  if (const auto message = decode_to_engine(frame); message.has_value()) {
    ASSERT_EQ(body(encode(message.value())), frame);
  } else {
    ASSERT_EQ(message.error().code, Errc::corrupt);
  }
  if (const auto message = decode_from_engine(frame); message.has_value()) {
    ASSERT_EQ(body(encode(message.value())), frame);
  } else {
    ASSERT_EQ(message.error().code, Errc::corrupt);
  }
}

TEST(ProtocolCodec, EveryMessageRoundTrips) {
  for (std::uint32_t seed = 0; seed < 10 * kSeeds; ++seed) {
    Samples samples(seed);
    const std::string down = encode(samples.to_engine());
    const auto to_engine = decode_to_engine(body(down));
    ASSERT_TRUE(to_engine.has_value()) << to_engine.error().message;
    ASSERT_EQ(encode(to_engine.value()), down) << "seed " << seed;
    const std::string up = encode(samples.from_engine());
    const auto from_engine = decode_from_engine(body(up));
    ASSERT_TRUE(from_engine.has_value()) << from_engine.error().message;
    ASSERT_EQ(encode(from_engine.value()), up) << "seed " << seed;
  }
}

TEST(ProtocolCodec, ValuesArriveAsTheyWereSent) {
  Begin begin;
  begin.run = -1;
  begin.function_id = 1ll << 62;
  begin.cold = false;
  begin.alone = true;
  begin.outcomes = {{.seq = 3, .delivered_as = 2, .failed = true, .payload = "null", .at_ms = 9}};
  begin.code = std::string("a\0b", 3);
  begin.seed = "seed";
  const auto decoded = decode_to_engine(body(encode(ToEngine(begin))));
  ASSERT_TRUE(decoded.has_value());
  const auto& got = std::get<Begin>(decoded.value());
  EXPECT_EQ(got.run, -1);
  EXPECT_EQ(got.function_id, 1ll << 62);
  EXPECT_FALSE(got.cold);
  EXPECT_TRUE(got.alone);
  ASSERT_EQ(got.outcomes.size(), 1u);
  EXPECT_EQ(got.outcomes[0].seq, 3);
  EXPECT_EQ(got.outcomes[0].delivered_as, 2);
  EXPECT_TRUE(got.outcomes[0].failed);
  EXPECT_EQ(got.outcomes[0].payload, "null");
  EXPECT_EQ(got.outcomes[0].at_ms, 9);
  EXPECT_EQ(got.code, std::string("a\0b", 3));
  EXPECT_EQ(got.seed, "seed");
}

TEST(ProtocolCodec, LayoutIsWhatTheGrammarSays) {
  const std::string frame = encode(FromEngine(Progress{.run = 0x0102, .delivered = -1}));
  const std::string expected("\x11\0\0\0\x84\x02\x01\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
                             21);
  EXPECT_EQ(frame, expected);
}

TEST(ProtocolCodec, EveryTruncationIsAnError) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    Samples samples(seed);
    const std::string down = encode(samples.to_engine());
    for (std::size_t size = 0; size < body(down).size(); ++size) {
      ASSERT_TRUE(decode_to_engine(body(down).substr(0, size)).has_error());
    }
    const std::string up = encode(samples.from_engine());
    for (std::size_t size = 0; size < body(up).size(); ++size) {
      ASSERT_TRUE(decode_from_engine(body(up).substr(0, size)).has_error());
    }
  }
}

TEST(ProtocolCodec, TrailingBytesAreAnError) {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    Samples samples(seed);
    ASSERT_TRUE(
        decode_to_engine(std::string(body(encode(samples.to_engine()))) + '\0').has_error());
    ASSERT_TRUE(
        decode_from_engine(std::string(body(encode(samples.from_engine()))) + '\0').has_error());
  }
}

TEST(ProtocolCodec, EverySingleByteMutationIsAnErrorOrAnotherMessage) {
  constexpr int kMutations[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
  for (std::uint32_t seed = 0; seed < kSeeds / 6; ++seed) {
    Samples samples(seed);
    for (const std::string& frame : {encode(samples.to_engine()), encode(samples.from_engine())}) {
      std::string mutated(body(frame));
      for (std::size_t at = 0; at < mutated.size(); ++at) {
        const char kept = mutated[at];
        for (const int mutation : kMutations) {
          mutated[at] = static_cast<char>(mutation);
          expect_error_or_canonical(mutated);
          mutated[at] = static_cast<char>(kept ^ mutation);
          expect_error_or_canonical(mutated);
        }
        mutated[at] = kept;
      }
    }
  }
}

TEST(ProtocolCodec, FlagsAndStatusesOutOfRangeAreErrors) {
  std::string done = encode(FromEngine(SliceDone{}));
  const std::size_t status_at = kFrameHeadBytes + 1 + 8;
  done[status_at] = 5;
  EXPECT_TRUE(decode_from_engine(body(done)).has_value());
  done[status_at] = 6;
  EXPECT_TRUE(decode_from_engine(body(done)).has_error());
  std::string checked = encode(FromEngine(Checked{.ok = true, .message = ""}));
  checked[kFrameHeadBytes + 1] = 2;
  EXPECT_TRUE(decode_from_engine(body(checked)).has_error());
}

TEST(ProtocolCodec, AFrameOfTheOtherDirectionIsAnError) {
  EXPECT_TRUE(decode_from_engine(body(encode(ToEngine(Forget{.run = 1})))).has_error());
  EXPECT_TRUE(decode_to_engine(body(encode(FromEngine(Progress{})))).has_error());
  EXPECT_TRUE(decode_to_engine("").has_error());
  EXPECT_TRUE(decode_from_engine("").has_error());
  EXPECT_TRUE(decode_from_engine("\x7f").has_error());
  EXPECT_TRUE(decode_from_engine("\xff").has_error());
}

TEST(ProtocolCodec, ACountThatTheFrameCannotHoldIsRefusedBeforeItsItemsAreMade) {
  const std::string evicted = encode(FromEngine(Evicted{.runs = {1, 2}}));
  const auto lie = put_u32(evicted, kFrameHeadBytes + 1, 0xffffffff);
  EXPECT_TRUE(decode_from_engine(body(lie)).has_error());
  EXPECT_TRUE(decode_from_engine(body(put_u32(evicted, kFrameHeadBytes + 1, 3))).has_error());
  const std::string dying = encode(FromEngine(Dying{.run = 1, .alone = true, .limit = "memory"}));
  const auto long_text = put_u32(dying, kFrameHeadBytes + 1 + 8 + 1, 0xffffffff);
  EXPECT_TRUE(decode_from_engine(body(long_text)).has_error());
}

TEST(ProtocolCodec, ListsBeyondTheLimitsAreRefused) {
  Limits limits;
  limits.calls_in_flight = 2;
  limits.log_entries_per_slice = 2;
  SliceDone done;
  done.calls.resize(2);
  done.logs.resize(5);  // two, the one that says that more were dropped, status and progress
  EXPECT_TRUE(decode_from_engine(body(encode(FromEngine(done))), limits).has_value());
  done.calls.resize(3);
  EXPECT_TRUE(decode_from_engine(body(encode(FromEngine(done))), limits).has_error());
  done.calls.resize(2);
  done.logs.resize(6);
  EXPECT_TRUE(decode_from_engine(body(encode(FromEngine(done))), limits).has_error());
}

}  // namespace
}  // namespace sequential::engine::protocol
