#include "work/decide.h"

#include <utility>

#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

services::CallError too_large(std::size_t bytes, std::int64_t bytes_max) {
  services::CallError error;
  error.errc = Errc::response_too_large;
  error.message = "the result has " + std::to_string(bytes) +
                  " bytes, more than limits.payload_bytes (" + std::to_string(bytes_max) +
                  "); ask the service for less";
  return error;
}

// The engine process died of it, so the task's own position is not known.
constexpr const char* kOutOfMemory =
    "the task needs more memory than limits.heap_bytes and limits.buffer_bytes allow; what it "
    "logged since its last call is lost";

CallDecision failed(const services::CallError& error, const storage::Work& work) {
  CallDecision decision;
  decision.end = storage::CallEnd::failed;
  decision.payload = error.to_json(work.service_name, work.method_name);
  return decision;
}

bool may_retry(const services::CallError& error, const storage::Work& work,
               const services::CallPolicy& policy) {
  return error.retryable && work.delivery == storage::Delivery::at_least_once &&
         !policy.at_most_once && work.attempt < policy.attempts_max;
}

// An at_most_once call whose answer never came may or may not have taken effect.
bool is_unknown(const services::CallError& error, const storage::Work& work) {
  if (work.delivery != storage::Delivery::at_most_once) return false;
  return error.errc == Errc::timeout || error.errc == Errc::response_invalid;
}

}  // namespace

CallDecision decide_unknown(const storage::Work& work) {
  services::CallError error;
  error.errc = Errc::outcome_unknown;
  error.name = "OutcomeUnknownError";
  error.message = "the call " + work.service_name + "." + work.method_name +
                  " was begun at most once and its outcome is not known; it was not sent again";
  return failed(error, work);
}

CallDecision decide_interrupted(const storage::Work& work) {
  if (work.delivery == storage::Delivery::at_most_once) return decide_unknown(work);
  services::CallError error;
  error.errc = Errc::shutting_down;
  error.message = "the server stopped before the service answered";
  CallDecision decision = failed(error, work);
  decision.end = storage::CallEnd::retry;
  return decision;
}

CallDecision decide_refused(const Error& refusal, const storage::Work& work) {
  services::CallError error;
  error.errc = Errc::internal;
  error.message = "the call was made, but its outcome cannot be stored: " + refusal.message;
  return failed(error, work);
}

void decide_refused(const Error& refusal, storage::SliceCommit& commit) {
  commit.calls.clear();
  commit.logs.clear();
  commit.end = storage::SliceEnd::failed;
  commit.flush = storage::Flush::durable;
  commit.payload =
      std::move(JsonObject()
                    .string("name", "Error")
                    .string("code", error_code_name(Errc::internal))
                    .string("message", "what the task did cannot be stored: " + refusal.message))
          .text();
}

CallDecision decide_call(services::CallReply reply, const storage::Work& work,
                         const services::CallPolicy& policy, std::int64_t payload_bytes_max,
                         double random01) {
  if (!reply.failed) {
    const auto bytes = reply.result.size();
    if (bytes > static_cast<std::size_t>(payload_bytes_max)) {
      return failed(too_large(bytes, payload_bytes_max), work);
    }
    CallDecision decision;
    decision.payload = std::move(reply.result);
    return decision;
  }
  if (is_unknown(reply.error, work)) return decide_unknown(work);
  CallDecision decision = failed(reply.error, work);
  if (may_retry(reply.error, work, policy)) {
    decision.end = storage::CallEnd::retry;
    decision.retry_after =
        services::backoff(policy, work.attempt + 1, reply.error.retry_after, random01);
  }
  return decision;
}

namespace {

storage::SliceCommit commit_of(engine::SliceResult&& slice, const SliceFacts& facts) {
  storage::SliceCommit commit;
  commit.root = facts.root;
  commit.delivered_through = facts.delivered_through;
  commit.payload = std::move(slice.payload);
  if (facts.delivered_through > 0 || facts.call_count > 0) {
    commit.resume_kind = slice.replayed ? storage::ResumeKind::replay : storage::ResumeKind::warm;
    commit.resume_us = slice.resume_us;
  }
  if (slice.status == engine::SliceStatus::divergent) {
    commit.end = storage::SliceEnd::paused;
    commit.reason = "divergent";
    commit.flush = storage::Flush::durable;
    return commit;
  }
  commit.end = slice.status == engine::SliceStatus::suspended   ? storage::SliceEnd::suspended
               : slice.status == engine::SliceStatus::completed ? storage::SliceEnd::completed
               : slice.status == engine::SliceStatus::cancelled ? storage::SliceEnd::cancelled
                                                                : storage::SliceEnd::failed;
  commit.flush =
      commit.end == storage::SliceEnd::suspended ? storage::Flush::lazy : storage::Flush::durable;
  commit.calls.reserve(slice.calls.size());
  for (auto& issued : slice.calls) {
    storage::NewCall call;
    call.seq = issued.seq;
    call.service_name = std::move(issued.service);
    call.method_name = std::move(issued.method);
    call.args = std::move(issued.args);
    call.options = std::move(issued.options);
    call.source_line = issued.source_line;
    commit.calls.push_back(std::move(call));
  }
  for (auto& issued : slice.logs) {
    commit.logs.push_back({std::move(issued.level), std::move(issued.message), {}});
  }
  return commit;
}

// An engine that ran out of memory while it held nothing but this run: the run's own limit.
bool ended_by_own_memory(const Error& error) {
  return error.code == Errc::engine_lost &&
         json_member(error.detail, "limit") == "\"memory_limit\"" &&
         json_member(error.detail, "alone") == "true";
}

}  // namespace

SliceDecision decide_slice(Result<engine::SliceResult> result, const SliceFacts& facts,
                           int crashes_max) {
  SliceDecision decision;
  if (result.has_value()) {
    decision.dropped = std::move(result.value().dropped);
    decision.commit = commit_of(std::move(result).value(), facts);
    return decision;
  }
  Error error = std::move(result).error();
  if (ended_by_own_memory(error)) {
    decision.commit.root = facts.root;
    decision.commit.delivered_through = facts.delivered_through;
    decision.commit.end = storage::SliceEnd::failed;
    decision.commit.flush = storage::Flush::durable;
    decision.commit.payload = std::move(JsonObject()
                                            .string("name", "LimitError")
                                            .string("code", "memory_limit")
                                            .string("message", kOutOfMemory))
                                  .text();
    return decision;
  }
  if (error.code == Errc::engine_lost) {
    decision.verdict = SliceVerdict::lost;
    decision.lost.root = facts.root;
    decision.lost.crashes_max = crashes_max;
    decision.lost.detail =
        std::move(JsonObject().string("message", error.message).raw("cause", error.detail)).text();
    return decision;
  }
  decision.verdict = SliceVerdict::retry;
  return decision;
}

}  // namespace sequential::server
