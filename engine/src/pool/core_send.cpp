// Frames out. One thread at a time sends for an engine: it takes the next frame under the mutex,
// encodes and writes it outside, and goes on until there is none. What the socket does not take at
// once is written when it can be; then the handler is the sender. So no more than one encoded frame
// per engine is ever in memory, and no more than two journal pages per cold start.

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core.h"
#include "sequential/base/bytes.h"
#include "sequential/base/check.h"
#include "sequential/base/fault.h"

namespace sequential::engine::pool {
namespace {

constexpr std::size_t kPagesMax = 2;
constexpr std::size_t kJournalFrameBytes = 256u << 10;  // a frame is closed when it exceeds this
constexpr std::int64_t kRowSlackBytes = 4'096;          // everything in a row's frame but its texts

protocol::OutcomeFrame to_frame(Delivered outcome) {
  return {.seq = outcome.seq,
          .delivered_as = outcome.delivered_as,
          .failed = outcome.failed,
          .payload = std::move(outcome.payload),
          .at_ms = outcome.at_ms};
}

protocol::JournalRow to_frame(RecordedCall call) {
  const Hash128 hash = fast_hash(call.args);
  protocol::JournalRow row{.seq = call.seq,
                           .service = std::move(call.service),
                           .method = std::move(call.method),
                           .args_hash_high = hash.high,
                           .args_hash_low = hash.low,
                           .outcome = std::nullopt};
  if (call.outcome) row.outcome = to_frame(std::move(*call.outcome));
  return row;
}

std::size_t row_bytes(const RecordedCall& call) {
  return call.service.size() + call.method.size() +
         (call.outcome ? call.outcome->payload.size() : 0) + sizeof(protocol::JournalRow);
}

}  // namespace

void Core::pump(Lock& lock) {
  for (const auto& slot : slots_) {
    // Copied: sending releases the mutex, and the slot may get another engine meanwhile.
    const EnginePtr engine = slot->engine;
    if (engine && !engine->sending && engine->has_outgoing()) send_from(engine, lock);
  }
}

void Core::send_from(const EnginePtr& engine, Lock& lock) {
  engine->sending = true;
  while (take_work(*engine)) {
    lock.unlock();
    prepare_feed(engine);
    engine->out = encode_work(*engine);
    engine->out_offset = 0;
    if (const auto* const chunk = std::get_if<SendJournalChunk>(&engine->work);
        chunk != nullptr && chunk->last) {
      lock.lock();
      if (engine->feed) {
        if (Flight* const flight = engine->find_flight(engine->feed->flight)) flight->sent = true;
      }
      lock.unlock();
    }
    const bool flushed = flush(engine);
    lock.lock();
    if (!flushed) return;  // the handler goes on, or the engine is lost; `sending` stays
    work_sent(*engine);
  }
  engine->sending = false;
}

bool Core::take_work(Engine& engine) {
  if (!engine.has_outgoing()) return false;
  if (!engine.feed) {
    engine.work = std::move(engine.outbox.front());
    engine.outbox.pop_front();
    if (const auto* const send = std::get_if<SendJob>(&engine.work); send != nullptr) {
      Flight* const flight = engine.find_flight(send->flight);
      SEQUENTIAL_CHECK(flight != nullptr);
      flight->begun = true;
      flight->sent = !send->with_journal;
      if (send->with_journal) {
        engine.feed = std::make_shared<Feed>();
        engine.feed->job = send->job;
        engine.feed->flight = send->flight;
      }
    }
    return true;
  }
  Feed& feed = *engine.feed;
  if (feed.error) {
    if (Flight* const flight = engine.find_flight(feed.flight)) flight->sent = true;
    engine.work = SendAbandon{feed.job->slice->run};
    return true;
  }
  if (!engine.page_held) {
    engine.page = std::move(feed.pages.front());
    engine.page_row = 0;
    engine.page_held = true;
    feed.pages.pop_front();
  }
  engine.work = SendJournalChunk{.run = feed.job->slice->run};
  return true;
}

// Asks for the next page before the last is encoded, so that reading and sending overlap. Only the
// sender changes Engine::feed, except for the death of the engine, after which nothing matters.
void Core::prepare_feed(const EnginePtr& engine) {
  const auto* const send = std::get_if<SendJob>(&engine->work);
  const bool begins = send != nullptr && send->with_journal;
  if (!begins && !std::holds_alternative<SendJournalChunk>(engine->work)) return;
  std::shared_ptr<Feed> feed;
  {
    const Lock lock(mutex_);
    feed = engine->feed;
  }
  if (!feed) return;
  if (!feed->source) {
    feed->source = feed->job->slice->open_journal();
    if (!feed->source) {
      Completions completions;
      {
        const Lock lock(mutex_);
        fail_feed(*engine, *feed, make_error(Errc::internal, "no journal to read"), completions);
      }
      post(std::move(completions));
      return;
    }
  }
  ask_journal(engine, feed);
}

std::string Core::encode_work(Engine& engine) {
  return std::visit(
      [&](auto& work) -> std::string {
        using Work = std::decay_t<decltype(work)>;
        if constexpr (std::is_same_v<Work, SendHello>) {
          return encode_hello();
        } else if constexpr (std::is_same_v<Work, SendForget>) {
          return protocol::encode(protocol::ToEngine(protocol::Forget{work.run.value}));
        } else if constexpr (std::is_same_v<Work, SendJob>) {
          return encode_job(work);
        } else if constexpr (std::is_same_v<Work, SendJournalChunk>) {
          return encode_journal_chunk(engine, work);
        } else {
          return protocol::encode(protocol::ToEngine(protocol::Journal{
              .run = work.run.value, .rows = {}, .more = false, .abandoned = true}));
        }
      },
      engine.work);
}

std::string Core::encode_hello() const {
  const auto engines = static_cast<std::int64_t>(slots_.size());
  return protocol::encode(protocol::ToEngine(protocol::Hello{
      .version = protocol::kVersion,
      .limits = options_.limits,
      .warm_bytes_max = std::max<std::int64_t>(1, options_.warm_bytes_max / engines),
      .warm_runs_max = std::max<std::int64_t>(1, options_.warm_runs_max / engines),
      .runs_per_isolate = options_.runs_per_isolate,
      .jit = options_.jit}));
}

std::string Core::encode_job(const SendJob& send) const {
  const TaskCode& code = *send.job->code;
  if (!send.job->slice) {
    return protocol::encode(
        protocol::ToEngine(protocol::Check{.name = code.name, .code = code.code}));
  }
  const SliceRequest& request = *send.job->slice;
  protocol::Begin begin;
  begin.run = request.run.value;
  begin.function_id = code.id.value;
  begin.cold = send.cold;
  begin.alone = send.alone;
  begin.delivered_from = send.from;
  begin.delivered_through = request.delivered_through;
  begin.calls_recorded = request.calls_recorded;
  begin.logs_recorded = request.logs_recorded;
  if (send.cold) {
    begin.name = code.name;
    begin.shown_as = request.shown_as.value;
    begin.version = code.version;
    if (send.with_code) begin.code = code.code;
    begin.input = request.input;
    begin.seed = request.seed;
    begin.started_at_ms = request.started_at_ms;
  } else {
    // The tail that the context has not seen; that it is there was checked when it was launched.
    const auto news = static_cast<std::size_t>(request.delivered_through - send.from);
    begin.outcomes.reserve(news);
    for (std::size_t i = request.outcomes.size() - news; i < request.outcomes.size(); ++i) {
      begin.outcomes.push_back(to_frame(request.outcomes[i]));
    }
  }
  return protocol::encode(protocol::ToEngine(std::move(begin)));
}

std::string Core::encode_journal_chunk(Engine& engine, SendJournalChunk& chunk) const {
  protocol::Journal journal;
  journal.run = chunk.run.value;
  std::vector<RecordedCall>& rows = engine.page.rows;
  std::size_t bytes = 0;
  while (engine.page_row < rows.size() && bytes < kJournalFrameBytes) {
    bytes += row_bytes(rows[engine.page_row]);
    journal.rows.push_back(to_frame(std::move(rows[engine.page_row])));
    ++engine.page_row;
  }
  chunk.ends_page = engine.page_row == rows.size();
  chunk.last = chunk.ends_page && !engine.page.more;
  journal.more = !chunk.last;
  return protocol::encode(protocol::ToEngine(std::move(journal)));
}

// True once `out` is written. Otherwise a handler will go on, unless the engine is lost: then its
// read sees that and nobody sends to it again.
bool Core::flush(const EnginePtr& engine) {
  while (engine->out_offset < engine->out.size()) {
    const ssize_t count =
        ::send(engine->fd, engine->out.data() + engine->out_offset,
               engine->out.size() - engine->out_offset, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      engine->out_offset += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      const std::lock_guard guard(engine->asio_mutex);
      engine->socket.async_wait(
          boost::asio::local::stream_protocol::socket::wait_write,
          [self = shared_from_this(), engine](const boost::system::error_code& error) {
            if (error || !self->flush(engine)) return;
            Lock lock(self->mutex_);
            self->work_sent(*engine);
            self->send_from(engine, lock);
          });
      return false;
    } else if (errno != EINTR) {
      ::shutdown(engine->fd, SHUT_RDWR);
      return false;
    }
  }
  return true;
}

void Core::work_sent(Engine& engine) {
  engine.out.clear();
  if (engine.out.capacity() > kJournalFrameBytes) engine.out.shrink_to_fit();
  if (const auto* const chunk = std::get_if<SendJournalChunk>(&engine.work); chunk != nullptr) {
    FAULT_POINT("replay.midway");
    if (chunk->ends_page) engine.page_held = false;
    // The engine waited for this page, so its time starts anew.
    if (engine.feed && !engine.flights.empty() &&
        engine.flights.front().number == engine.feed->flight) {
      engine.restart_head_clock(system_clock().monotonic());
    }
    if (chunk->last) engine.feed.reset();
  } else if (std::holds_alternative<SendAbandon>(engine.work)) {
    engine.feed.reset();
    engine.page_held = false;
  }
  engine.work = SendHello{};  // drops the job
}

void Core::ask_journal(const EnginePtr& engine, const std::shared_ptr<Feed>& feed) {
  {
    const Lock lock(mutex_);
    const std::size_t held = feed->pages.size() + (engine->page_held ? 1 : 0);
    if (feed->asking || feed->ended || feed->error || held >= kPagesMax) return;
    feed->asking = true;
    feed->asked_at = system_clock().monotonic();
  }
  feed->source->next([self = shared_from_this(), engine, feed](Result<RecordedPage> page) {
    self->on_journal_page(engine, feed, std::move(page));
  });
}

void Core::on_journal_page(const EnginePtr& engine, const std::shared_ptr<Feed>& feed,
                           Result<RecordedPage> page) {
  Completions completions;
  bool go_on = false;
  {
    Lock lock(mutex_);
    feed->asking = false;
    if (engine->feed != feed || feed->error) return;  // given up, or the engine is dead
    std::optional<Error> error;
    if (page.has_error()) {
      error = std::move(page).error();
    } else {
      error = check_page(*feed, page.value());
    }
    if (error) {
      fail_feed(*engine, *feed, std::move(*error), completions);
    } else {
      feed->ended = !page.value().more;
      feed->pages.push_back(std::move(page).value());
      go_on = true;
    }
    pump(lock);
  }
  post(std::move(completions));
  if (go_on) ask_journal(engine, feed);
}

// The journal must be whole: calls 1 … calls_recorded, in order, and no outcome beyond the position
// asked for.
std::optional<Error> Core::check_page(Feed& feed, RecordedPage& page) const {
  const SliceRequest& request = *feed.job->slice;
  for (RecordedCall& row : page.rows) {
    const bool asked_to_end = row.seq == 0 && feed.rows_seen == 0 && !feed.request_seen;
    if (asked_to_end) feed.request_seen = true;
    if (!asked_to_end && row.seq != ++feed.rows_seen) {
      return make_error(Errc::corrupt, "the journal of run " + std::to_string(request.run.value) +
                                           " has call " + std::to_string(row.seq) + " where " +
                                           std::to_string(feed.rows_seen) + " is due");
    }
    if (row.outcome && row.outcome->delivered_as > request.delivered_through) row.outcome.reset();
    if (static_cast<std::int64_t>(row_bytes(row)) + kRowSlackBytes > options_.limits.frame_bytes) {
      return make_error(Errc::corrupt, "a recorded outcome exceeds limits.frame_bytes");
    }
  }
  if (page.more ? feed.rows_seen > request.calls_recorded
                : feed.rows_seen != request.calls_recorded) {
    return make_error(Errc::corrupt, "the journal of run " + std::to_string(request.run.value) +
                                         " ends at call " + std::to_string(feed.rows_seen) +
                                         ", the run has " + std::to_string(request.calls_recorded));
  }
  return std::nullopt;
}

// The slice is answered now; the engine is told to drop it, and its answer will be nobody's.
void Core::fail_feed(Engine& engine, Feed& feed, Error error, Completions& completions) {
  feed.error = error;
  feed.pages.clear();
  Flight* const flight = engine.find_flight(feed.flight);
  if (flight == nullptr || !flight->job) return;
  complete_error(completions, flight->job, std::move(error));
  flight->job.reset();
}

}  // namespace sequential::engine::pool
