// encode and decode of all messages. The grammar is at the top of protocol.h.

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "archive.h"
#include "sequential/base/check.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {

// Beside the archives, which find these by argument-dependent lookup.
template <class M, class T>
concept Message = std::same_as<std::remove_const_t<M>, T>;

template <class A, Message<Limits> M>
void fields(A& a, M& m) {
  a(m.heap_bytes, m.buffer_bytes, m.cpu_ms, m.wall_ms, m.hard_kill_ms, m.calls_in_flight,
    m.payload_bytes, m.log_entries_per_slice, m.log_message_bytes, m.status_bytes,
    m.attributes, m.attribute_chars, m.attributes_chars, m.frame_bytes);
}

template <class A, Message<Hello> M>
void fields(A& a, M& m) {
  a(m.version, m.limits, m.warm_bytes_max, m.warm_runs_max, m.runs_per_isolate, m.jit);
}
template <class A, Message<OutcomeFrame> M>
void fields(A& a, M& m) {
  a(m.seq, m.delivered_as, m.failed, m.payload, m.at_ms);
}
template <class A, Message<Begin> M>
void fields(A& a, M& m) {
  a(m.run, m.function_id, m.cold, m.alone, m.delivered_from, m.delivered_through, m.calls_recorded,
    m.logs_recorded, m.outcomes, m.name, m.shown_as, m.version, m.code, m.input, m.seed,
    m.started_at_ms);
}
template <class A, Message<JournalRow> M>
void fields(A& a, M& m) {
  a(m.seq, m.service, m.method, m.args_hash_high, m.args_hash_low, m.outcome);
}
template <class A, Message<Journal> M>
void fields(A& a, M& m) {
  a(m.run, m.rows, m.more, m.abandoned);
}
template <class A, Message<Check> M>
void fields(A& a, M& m) {
  a(m.name, m.code);
}
template <class A, Message<Forget> M>
void fields(A& a, M& m) {
  a(m.run);
}
template <class A, Message<Ready> M>
void fields(A& a, M& m) {
  a(m.version, m.v8_version, m.base_blob_bytes, m.base_from_file);
}
template <class A, Message<CallFrame> M>
void fields(A& a, M& m) {
  a(m.seq, m.service, m.method, m.args, m.options, m.source_line);
}
template <class A, Message<LogFrame> M>
void fields(A& a, M& m) {
  a(m.level, m.message);
}
template <class A, Message<DroppedFrame> M>
void fields(A& a, M& m) {
  a(m.seq);
}
template <class A, Message<SliceDone> M>
void fields(A& a, M& m) {
  a(m.run, m.status, m.payload, m.calls, m.logs, m.dropped, m.replayed, m.warm, m.retry_alone,
    m.resume_us, m.cpu_us, m.heap_bytes);
}
template <class A, Message<Checked> M>
void fields(A& a, M& m) {
  a(m.ok, m.message, m.line, m.column, m.source);
}
template <class A, Message<Evicted> M>
void fields(A& a, M& m) {
  a(m.runs);
}
template <class A, Message<Progress> M>
void fields(A& a, M& m) {
  a(m.run, m.delivered);
}
template <class A, Message<Dying> M>
void fields(A& a, M& m) {
  a(m.run, m.alone, m.limit);
}

namespace {

constexpr std::uint8_t kToEngineTypeFirst = 1;
constexpr std::uint8_t kFromEngineTypeFirst = 128;

template <class Variant>
std::string encode_as(const Variant& message, std::uint8_t type_first) {
  Measure measure;
  std::visit([&](const auto& m) { fields(measure, m); }, message);
  const std::size_t length = 1 + measure.bytes();
  SEQUENTIAL_CHECK(length <= std::numeric_limits<std::uint32_t>::max());

  std::string frame;
  frame.reserve(kFrameHeadBytes + length);
  Encoder encoder(frame);
  encoder(static_cast<std::uint32_t>(length));
  frame.push_back(static_cast<char>(type_first + message.index()));
  std::visit([&](const auto& m) { fields(encoder, m); }, message);
  return frame;
}

template <class Variant, std::size_t... I>
bool emplace_alternative(Variant& message, std::size_t index, std::index_sequence<I...>) {
  return ((I == index && (message.template emplace<I>(), true)) || ...);
}

template <class Variant>
Result<Variant> decode_as(std::string_view frame, std::uint8_t type_first,
                          const Limits* lists_max) {
  if (frame.empty()) return make_error(Errc::corrupt, "engine frame: empty");
  const auto type = static_cast<std::uint8_t>(frame.front());
  Variant message;
  const bool known = type >= type_first &&
                     emplace_alternative(message, static_cast<std::size_t>(type - type_first),
                                         std::make_index_sequence<std::variant_size_v<Variant>>{});
  if (!known)
    return make_error(Errc::corrupt, "engine frame: no such type " + std::to_string(type));

  Decoder decoder(frame.substr(1), lists_max);
  std::visit([&](auto& m) { fields(decoder, m); }, message);
  decoder.expect_end();
  if (decoder.problem() != nullptr) {
    return make_error(Errc::corrupt, "engine frame of type " + std::to_string(type) + ", byte " +
                                         std::to_string(1 + decoder.position()) + ": " +
                                         decoder.problem());
  }
  return message;
}

}  // namespace

std::string encode(const ToEngine& message) { return encode_as(message, kToEngineTypeFirst); }
std::string encode(const FromEngine& message) { return encode_as(message, kFromEngineTypeFirst); }

Result<ToEngine> decode_to_engine(std::string_view frame) {
  return decode_as<ToEngine>(frame, kToEngineTypeFirst, nullptr);
}
Result<FromEngine> decode_from_engine(std::string_view frame, const Limits& limits) {
  return decode_as<FromEngine>(frame, kFromEngineTypeFirst, &limits);
}

}  // namespace sequential::engine::protocol
