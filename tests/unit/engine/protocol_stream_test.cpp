// FrameReader and CodeLedger.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "protocol_samples.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {
namespace {

std::string framed(std::string_view body) {
  const auto length = static_cast<std::uint32_t>(body.size());
  std::string frame(sizeof length, '\0');
  std::memcpy(frame.data(), &length, sizeof length);
  return frame + std::string(body);
}
// All frames that are complete now.
std::vector<std::string> drain(FrameReader& reader) {
  std::vector<std::string> frames;
  for (;;) {
    const auto frame = reader.next();
    EXPECT_TRUE(frame.has_value());
    if (frame.has_error() || !frame.value()) return frames;
    frames.emplace_back(*frame.value());
  }
}

TEST(FrameReader, FramesComeOutWholeHoweverTheStreamIsCut) {
  const std::vector<std::string> bodies = {"a", std::string(300, 'b'), "cc", std::string(7, '\0')};
  std::string stream;
  for (const auto& body : bodies) stream += framed(body);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameReader reader(1'000);
    reader.feed(std::string_view(stream).substr(0, cut));
    auto frames = drain(reader);
    reader.feed(std::string_view(stream).substr(cut));
    for (auto& frame : drain(reader)) frames.push_back(std::move(frame));
    ASSERT_EQ(frames, bodies) << "cut at " << cut;
  }
  FrameReader reader(1'000);
  std::vector<std::string> frames;
  for (const char byte : stream) {
    reader.feed({&byte, 1});
    for (auto& frame : drain(reader)) frames.push_back(std::move(frame));
  }
  EXPECT_EQ(frames, bodies);
}

TEST(FrameReader, ReadingIntoItGivesTheSameAsFeeding) {
  std::mt19937 random(7);
  std::string stream;
  std::vector<std::string> bodies;
  for (int i = 0; i < 2'000; ++i) {
    bodies.emplace_back(1 + random() % (i % 50 == 0 ? 20'000 : 60), static_cast<char>(random()));
    stream += framed(bodies.back());
  }
  FrameReader reader(1 << 20);
  std::vector<std::string> frames;
  for (std::size_t at = 0; at < stream.size();) {
    const auto room = reader.prepare(1 + random() % 5'000);
    const std::size_t count = std::min({stream.size() - at, room.size(), 1 + random() % 9'000});
    std::memcpy(room.data(), stream.data() + at, count);
    reader.commit(count);
    at += count;
    for (auto& frame : drain(reader)) frames.push_back(std::move(frame));
  }
  EXPECT_EQ(frames, bodies);
}

TEST(FrameReader, ALengthOfZeroOrOverTheLimitKillsTheStream) {
  FrameReader zero(100);
  zero.feed(std::string(4, '\0'));
  EXPECT_TRUE(zero.next().has_error());
  zero.feed(framed("good"));
  EXPECT_TRUE(zero.next().has_error());

  FrameReader large(100);
  large.feed(framed(std::string(100, 'x')));
  EXPECT_TRUE(large.next().value().has_value());
  large.feed(framed(std::string(101, 'x')).substr(0, 4));
  EXPECT_TRUE(large.next().has_error());
}

TEST(FrameReader, ManyFramesInOneFeedAreLinear) {
  // Quadratic cost would be 5e11 bytes moved: the test's time limit would see it.
  const std::string frame = framed(std::string(20, 'x'));
  std::string stream;
  for (int i = 0; i < 200'000; ++i) stream += frame;
  FrameReader reader(100);
  reader.feed(stream);
  int count = 0;
  for (auto next = reader.next(); next.value(); next = reader.next()) ++count;
  EXPECT_EQ(count, 200'000);
}

TEST(FrameReader, ALargeFrameInSmallPiecesIsLinear) {
  const std::string frame = framed(std::string(8 << 20, 'x'));
  FrameReader reader(1ll << 30);
  for (std::size_t at = 0; at < frame.size(); at += 512) {
    ASSERT_FALSE(reader.next().value().has_value());
    reader.feed(std::string_view(frame).substr(at, 512));
  }
  EXPECT_EQ(reader.next().value()->size(), 8u << 20);
}

TEST(CodeLedger, WhatWasHeldIsHeldUntilTheBoundsPushItOut) {
  CodeLedger ledger;
  EXPECT_FALSE(ledger.use(1));
  EXPECT_TRUE(ledger.hold(1, 10).empty());
  EXPECT_TRUE(ledger.use(1));
  EXPECT_TRUE(ledger.holds(1));
  for (std::int64_t id = 2; id <= static_cast<std::int64_t>(CodeLedger::kFunctionsMax); ++id) {
    ASSERT_TRUE(ledger.hold(id, 1).empty());
  }
  ASSERT_TRUE(ledger.use(1));  // now 2 is the oldest
  EXPECT_EQ(ledger.hold(10'000, 1), std::vector<std::int64_t>{2});
  EXPECT_FALSE(ledger.use(2));
  EXPECT_TRUE(ledger.use(1));
}

TEST(CodeLedger, BytesAreBoundedButTheLastStays) {
  CodeLedger ledger;
  ledger.hold(1, CodeLedger::kBytesMax / 2);
  ledger.hold(2, CodeLedger::kBytesMax / 2);
  EXPECT_TRUE(ledger.holds(1));
  EXPECT_EQ(ledger.hold(3, 2 * CodeLedger::kBytesMax), (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(ledger.holds(3));
  EXPECT_EQ(ledger.hold(4, 1), std::vector<std::int64_t>{3});
}

TEST(CodeLedger, SendingAgainReplacesTheSize) {
  CodeLedger ledger;
  ledger.hold(1, CodeLedger::kBytesMax);
  ledger.hold(1, 10);
  EXPECT_TRUE(ledger.hold(2, CodeLedger::kBytesMax - 10).empty());
}

TEST(CodeLedger, TwoThatSeeTheSameStreamAgree) {
  std::mt19937 random(3);
  CodeLedger broker;
  CodeLedger engine;
  for (int i = 0; i < 50'000; ++i) {
    const auto id = static_cast<std::int64_t>(random() % 6'000);
    const std::size_t bytes = 1 + random() % 40'000;
    const bool known = broker.use(id);
    ASSERT_EQ(engine.use(id), known);
    if (!known) {
      ASSERT_EQ(engine.hold(id, bytes), broker.hold(id, bytes));
    }
  }
}

}  // namespace
}  // namespace sequential::engine::protocol
