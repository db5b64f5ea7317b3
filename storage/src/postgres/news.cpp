#include "postgres/news.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "postgres/jitter.h"
#include "sequential/base/check.h"
#include "sequential/base/log.h"

namespace sequential::storage::postgres {
namespace {

constexpr Millis kHelloEvery{5'000};
constexpr Millis kHeardFor{16'000};       // three hellos missed: nobody is there
constexpr Millis kReconnectEvery{1'000};
constexpr Millis kLookEvery{1'000};       // into the history
constexpr std::size_t kOutboxMax = 10'000;     // older word is worth nothing
constexpr std::size_t kPayloadBytesMax = 7'000;  // the server's limit is 8,000

std::int64_t ms_of(MonoTime time) {
  return std::chrono::duration_cast<Millis>(time.time_since_epoch()).count();
}

}  // namespace

NewsWire::NewsWire(Link& link, const Clock& clock)
    : link_(link),
      clock_(clock),
      channel_("sequential_" + link.options().schema),
      self_(std::to_string(random_token())),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  SEQUENTIAL_CHECK(wake_fd_ >= 0);
  thread_ = std::thread([this] { loop(); });
}

NewsWire::~NewsWire() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake();
  }
  stop_.notify_all();
  thread_.join();
  ::close(wake_fd_);
}

void NewsWire::listen(News news) {
  const std::lock_guard lock(mutex_);
  news_ = std::move(news);
}

void NewsWire::tell(char kind, std::int64_t id) {
  if (!anybody_there()) return;
  const std::lock_guard lock(mutex_);
  if (outbox_.size() >= kOutboxMax) return;
  outbox_.push_back(kind + std::to_string(id));
  if (std::exchange(woken_, true)) return;
  wake();
}

void NewsWire::wake() { SEQUENTIAL_CHECK(::eventfd_write(wake_fd_, 1) == 0); }

// A node that cannot listen cannot know, and tells always.
bool NewsWire::anybody_there() const {
  return !link_.options().listen || ms_of(clock_.monotonic()) < heard_until_ms_.load();
}

void NewsWire::loop() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    if (!connection_ && !connect()) {
      nap(kReconnectEvery);
      continue;
    }
    if (!exchange()) connection_.reset();
  }
}

bool NewsWire::connect() {
  auto opened = link_.connect();
  auto* const connection = std::get_if<std::unique_ptr<Connection>>(&opened);
  if (connection == nullptr) return false;
  if (!listen_on(**connection)) return false;
  connection_ = std::move(*connection);
  next_hello_ = next_look_ = clock_.monotonic();
  return true;
}

bool NewsWire::listen_on(Connection& connection) {
  listening_ = false;
  if (!link_.options().listen) return true;
  const auto error = connection.listen(channel_);
  listening_ = !error.has_value();
  if (listening_) return true;
  if (!std::exchange(listen_refused_, true)) {
    log_warn("no news from other nodes", {{"reason", error->message}});
  }
  return error->fate == DbError::Fate::refused;
}

bool NewsWire::exchange() {
  if (!link_.is_current(*connection_)) return false;
  if (clock_.monotonic() >= next_look_) {
    if (link_.history().tick(*connection_)) return false;
    next_look_ = clock_.monotonic() + kLookEvery;
  }
  const bool hello = listening_ && clock_.monotonic() >= next_hello_;
  if (hello) next_hello_ = clock_.monotonic() + kHelloEvery;
  const auto payloads = take_payloads(hello);
  if (!payloads.empty() && !send(payloads)) return false;
  auto received =
      connection_->wait(listening_ ? std::min(next_hello_, next_look_) : next_look_, wake_fd_);
  eventfd_t drained = 0;
  ::eventfd_read(wake_fd_, &drained);
  if (std::holds_alternative<DbError>(received)) return false;
  for (const auto& payload : std::get<std::vector<std::string>>(received)) receive(payload);
  return true;
}

std::vector<std::string> NewsWire::take_payloads(bool hello) {
  std::vector<std::string> words;
  {
    const std::lock_guard lock(mutex_);
    words.swap(outbox_);
    woken_ = false;
  }
  if (hello) words.emplace_back("h");
  std::vector<std::string> payloads;
  for (const std::string& word : words) {
    if (payloads.empty() || payloads.back().size() + word.size() > kPayloadBytesMax) {
      payloads.push_back(self_);
    }
    payloads.back() += " " + word;
  }
  return payloads;
}

bool NewsWire::send(const std::vector<std::string>& payloads) {
  static const Statement notify("SELECT pg_notify($1::text, convert_from(p, 'UTF8'))"
                                " FROM unnest($2::bytea[]) AS p");
  Params params;
  params.add(channel_).add(std::vector<std::string_view>(payloads.begin(), payloads.end()));
  if (!connection_->usable()) return false;
  const auto sent = connection_->run(notify, params, link_.prepare());
  const auto* const error = std::get_if<DbError>(&sent);
  if (error == nullptr) return true;
  if (error->fate == DbError::Fate::unprepared) link_.stop_preparing();
  return error->fate == DbError::Fate::refused;
}

void NewsWire::receive(const std::string& payload) {
  const std::size_t space = payload.find(' ');
  if (space == std::string::npos || payload.compare(0, space, self_) == 0) return;
  const std::int64_t now = ms_of(clock_.monotonic());
  // Somebody new: say so at once, that they need not wait to hear of us.
  if (heard_until_ms_.exchange(now + kHeardFor.count()) < now) next_hello_ = clock_.monotonic();
  News news;
  {
    const std::lock_guard lock(mutex_);
    news = news_;
  }
  const char* const end = payload.data() + payload.size();
  for (const char* at = payload.data() + space + 1; at < end;) {
    const char kind = *at++;
    std::int64_t id = 0;
    at = std::from_chars(at, end, id).ptr + 1;
    if (kind == 'r' && id > 0 && news.runnable) news.runnable(StackRunId(id));
    if (kind == 'e' && id > 0 && news.ended) news.ended(TaskRunId(id));
  }
}

void NewsWire::nap(Millis length) {
  std::unique_lock lock(mutex_);
  stop_.wait_for(lock, length, [this] { return stopping_; });
}

}  // namespace sequential::storage::postgres
